"""From what a foreign model returns to decisions: nothing that is not plainly one class per image gets through."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor

from db3.errors import ConfigError, TeacherError, one_line

ClassesMap = Sequence[int | None]
"""Entry i: the class that the model's own class i is, be it a column of scores, a number or a name; None: none of
ours."""


def read_decisions(
    output: Any,
    count: int,
    classes: int,
    who: str,
    labels: Sequence[str] | None = None,
    classes_map: ClassesMap | None = None,
) -> Int[Tensor, " n"]:
    """Decisions from scores (the lowest class on a tie), integer classes or class names.

    Args:
        output: array-like [n, K] of scores, or [n] of integers or names; axes of length 1 after the first are dropped.
        count: n.
        classes: K.
        who: names the model in errors.
        labels: name of each class of the model's own, for one that answers with names.
        classes_map: which of the K classes each of the model's own is; None: they are the same. A column of scores
            that is none of ours is left out; a number or a name that is none is refused.

    Raises:
        TeacherError: one line; another shape or type, NaN, a class outside 0 … K−1 or an unknown name.
    """
    array = _array(output, who)
    rows = array.shape[0] if array.ndim else -1
    if rows != count:
        found = f"{rows} answers" if array.ndim else "None" if output is None else "a single value"
        raise TeacherError(f"{who} gave {found} to {count} images; expected one for each: check its output")
    wide = array.reshape(count, -1) if count else array.reshape(0, 1)
    kind, columns, own = array.dtype.kind, wide.shape[1], len(classes_map) if classes_map else classes
    if kind in "iuf" and columns == own:
        if kind == "f" and np.isnan(wide).any():
            raise TeacherError(
                f"{who} gave NaN as a score; expected numbers: check what it is shown (mean, std, scale)"
            )
        return _best(wide, classes_map)
    if columns == 1 and kind in "iu":
        return _mapped(_in_range(wide[:, 0], own, who), who, classes_map)
    if columns == 1 and kind in "OUS":
        return _mapped(_named(wide[:, 0].tolist(), own, who, labels), who, classes_map)
    remedy = (
        "answer with integers, or with scores"
        if columns == 1
        else "name the right output in teacher.output, set teacher.classes, or list in teacher.classes_map which of "
        "ours each of its own is"
    )
    raise TeacherError(
        f"{who} gave an output of shape {list(array.shape)} in {array.dtype}; expected [{count}, {own}] scores, or "
        f"{count} integer classes or names: {remedy}"
    )


def full_map(classes_map: ClassesMap | str | None, classes: int) -> tuple[int | None, ...] | None:
    """The map that `teacher.classes_map` stands for: `from_one` is a model that counts K classes from 1."""
    if classes_map is None:
        return None
    return (None, *range(classes)) if isinstance(classes_map, str) else tuple(classes_map)


def never_meant(classes: int, classes_map: ClassesMap | None) -> list[int]:
    """The classes that none of the model's own stands for."""
    return [] if classes_map is None else sorted(set(range(classes)) - set(classes_map))


def check_naming(classes: int, labels: Sequence[str] | None, classes_map: ClassesMap | None) -> None:
    """Refuse names that two classes share, and a map to classes that there are not.

    Raises:
        ConfigError: one line.
    """
    for name, times in Counter(labels or ()).items():
        if times > 1:
            raise ConfigError(
                f"teacher.labels names {one_line(repr(name), 60)} {times} times; expected another name for each class"
            )
    if classes_map is None:
        return
    for own, ours in enumerate(classes_map):
        if ours is not None and not 0 <= ours < classes:
            raise ConfigError(
                f"teacher.classes_map says that the model's class {own} is class {ours}; expected 0 … {classes - 1}, "
                "or null where it is none of ours"
            )
    if labels and len(labels) != len(classes_map):
        raise ConfigError(
            f"teacher.labels names {len(labels)} classes, teacher.classes_map maps {len(classes_map)}; expected the "
            "model's own in both"
        )


def read_class(
    answer: Any, classes: int, who: str, labels: Sequence[str] | None, classes_map: ClassesMap | None = None
) -> int:
    """The class of one answer: an integer, a name, or a list of K scores.

    Raises:
        TeacherError: it is none of these.
    """
    if isinstance(answer, bool) or not isinstance(answer, str | int | list):
        raise TeacherError(
            f"{who} answered {one_line(repr(answer), 60)}; expected a class number, a class name or {classes} scores: "
            "correct teacher.http.answer"
        )
    return int(read_decisions([answer], 1, classes, who, labels, classes_map)[0])


def _array(output: Any, who: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(output.detach().cpu() if isinstance(output, Tensor) else output)
    except (ValueError, TypeError, OverflowError) as error:
        raise TeacherError(
            f"{who} gave something that is no array ({one_line(error)}); expected classes or scores"
        ) from None


def _best(scores: npt.NDArray[Any], classes_map: ClassesMap | None) -> Int[Tensor, " n"]:
    if classes_map is None:
        return torch.from_numpy(scores.argmax(axis=1).astype(np.int64))
    # In the order of our classes: the lowest of them wins a tie.
    ours = sorted((ours, own) for own, ours in enumerate(classes_map) if ours is not None)
    columns, meant = [own for _, own in ours], np.array([ours for ours, _ in ours], np.int64)
    return torch.from_numpy(meant[scores[:, columns].argmax(axis=1)])


def _mapped(answers: npt.NDArray[np.int64], who: str, classes_map: ClassesMap | None) -> Int[Tensor, " n"]:
    if classes_map is None:
        return torch.from_numpy(answers)
    meant = np.array([-1 if ours is None else ours for ours in classes_map], np.int64)[answers]
    if (meant < 0).any():
        raise TeacherError(
            f"{who} answered its class {int(answers[meant < 0][0])}, which teacher.classes_map leaves out: say which "
            "class it is"
        )
    return torch.from_numpy(meant)


def _in_range(answers: npt.NDArray[Any], classes: int, who: str) -> npt.NDArray[np.int64]:
    wrong = answers[(answers < 0) | (answers >= classes)]
    if wrong.size:
        raise TeacherError(
            f"{who} answered class {int(wrong[0])}; expected 0 … {classes - 1}: set teacher.classes_map=from_one where "
            "it counts from 1, else list there which of ours each of its own is"
        )
    return answers.astype(np.int64)


def _named(answers: list[Any], classes: int, who: str, labels: Sequence[str] | None) -> npt.NDArray[np.int64]:
    names = [name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in answers]
    index = {name: place for place, name in enumerate((labels or [])[:classes])}
    for name in names:
        if not isinstance(name, str) or name not in index:
            known = ", ".join(list(index)[:5]) + (", …" if len(index) > 5 else "")
            raise TeacherError(
                f"{who} answered {one_line(repr(name), 60)}; expected one of {known or 'no names'}: "
                "list them in teacher.labels"
            )
    return np.array([index[name] for name in names], np.int64)
