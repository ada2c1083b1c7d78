"""From what a foreign model returns to decisions: nothing that is not plainly one class per image gets through."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor

from db3.errors import TeacherError, one_line


def read_decisions(
    output: Any, count: int, classes: int, who: str, labels: Sequence[str] | None = None
) -> Int[Tensor, " n"]:
    """Decisions from scores (the lowest class on a tie), integer classes or class names.

    Args:
        output: array-like [n, K] of scores, or [n] of integers or names; axes of length 1 after the first are dropped.
        count: n.
        classes: K.
        who: names the model in errors.
        labels: name of each class, for a model that answers with names.

    Raises:
        TeacherError: one line; another shape or type, NaN, a class outside 0 … K−1 or an unknown name.
    """
    array = _array(output, who)
    rows = array.shape[0] if array.ndim else -1
    if rows != count:
        found = f"{rows} answers" if array.ndim else "a single value"
        raise TeacherError(f"{who} gave {found} to {count} images; expected one for each: check its output")
    wide = array.reshape(count, -1) if count else array.reshape(0, 1)
    kind, columns = array.dtype.kind, wide.shape[1]
    if kind in "iuf" and columns == classes:
        if kind == "f" and np.isnan(wide).any():
            raise TeacherError(
                f"{who} gave NaN as a score; expected numbers: check what it is shown (mean, std, scale)"
            )
        return torch.from_numpy(wide.argmax(axis=1).astype(np.int64))
    if columns == 1 and kind in "iu":
        return _in_range(wide[:, 0], classes, who)
    if columns == 1 and kind in "OUS":
        return _named(wide[:, 0].tolist(), classes, who, labels)
    raise TeacherError(
        f"{who} gave an output of shape {list(array.shape)} in {array.dtype}; expected [{count}, {classes}] scores or "
        f"{count} integer classes: name the right output in teacher.output, or set teacher.classes"
    )


def read_class(answer: Any, classes: int, who: str, labels: Sequence[str] | None) -> int:
    """The class of one answer: an integer, a name, or a list of K scores.

    Raises:
        TeacherError: it is none of these.
    """
    if isinstance(answer, bool) or not isinstance(answer, str | int | list):
        raise TeacherError(
            f"{who} answered {one_line(repr(answer), 60)}; expected a class number, a class name or {classes} scores: "
            "correct teacher.http.answer"
        )
    return int(read_decisions([answer], 1, classes, who, labels)[0])


def _array(output: Any, who: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(output.detach().cpu() if isinstance(output, Tensor) else output)
    except (ValueError, TypeError, OverflowError) as error:
        raise TeacherError(
            f"{who} gave something that is no array ({one_line(error)}); expected classes or scores"
        ) from None


def _in_range(answers: npt.NDArray[Any], classes: int, who: str) -> Int[Tensor, " n"]:
    wrong = answers[(answers < 0) | (answers >= classes)]
    if wrong.size:
        raise TeacherError(
            f"{who} answered class {int(wrong[0])}; expected 0 … {classes - 1}: set teacher.classes to its own number"
        )
    return torch.from_numpy(answers.astype(np.int64))


def _named(answers: list[Any], classes: int, who: str, labels: Sequence[str] | None) -> Int[Tensor, " n"]:
    names = [name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in answers]
    index = {name: place for place, name in enumerate((labels or [])[:classes])}
    for name in names:
        if not isinstance(name, str) or name not in index:
            known = ", ".join(list(index)[:5]) + (", …" if len(index) > 5 else "")
            raise TeacherError(
                f"{who} answered {one_line(repr(name), 60)}; expected one of {known or 'no names'}: "
                "list them in teacher.labels"
            )
    return torch.tensor([index[name] for name in names], dtype=torch.int64)
