"""From what a foreign model returns to decisions: nothing that is not plainly one class per image gets through, but
what the user has declared of such answers (`Unclear`).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor

from db3.errors import ConfigError, TeacherError, one_line
from db3.teachers.base import Counted, TeacherSpec, ignored

ClassesMap = Sequence[int | None]
"""Entry i: the class that the model's own class i is, be it a column of scores, a number or a name; None: none of
ours."""
_NONE = -1  # in an array of answers: this one is unclear


@dataclass(frozen=True)
class Unclear:
    """What becomes of an answer that is no single class of the model's own.

    Attributes:
        reject: it counts as one more class, the last of the K; otherwise it is an error.
        first: of several names the first one counts; otherwise they are unclear.
        threshold: scores whose best one is below it are unclear; None: none are.
        counted: told how many were `nothing` (none, refused, below the threshold), `several` or `off_list`.
    """

    reject: bool = False
    first: bool = False
    threshold: float | None = None
    counted: Counted = ignored

    @property
    def trial(self) -> "Unclear":
        """The same for answers to images that are none, which may be as unclear as they like."""
        return Unclear(self.reject, self.first)

    def own(self, classes: int, classes_map: ClassesMap | None) -> int:
        """Classes that the model itself tells apart, where decisions are one of `classes`."""
        return len(classes_map) if classes_map else classes - self.reject

    def settle(self, kind: str, answers: npt.NDArray[np.int64], classes: int, told: str) -> npt.NDArray[np.int64]:
        """Decisions of answers of which some are `_NONE`; `told` is the error for these."""
        unclear = answers == _NONE
        if not unclear.any():
            return answers
        if not self.reject:
            raise TeacherError(told)
        self.counted(kind, int(unclear.sum()))
        return np.where(unclear, classes - 1, answers)


STRICT = Unclear()
_OR_DECLARE = "or declare in teacher.unclear what such an answer counts as"


def read_decisions(
    output: Any,
    count: int,
    classes: int,
    who: str,
    labels: Sequence[str] | None = None,
    classes_map: ClassesMap | None = None,
    unclear: Unclear = STRICT,
    where: str = "teacher.output",
) -> Int[Tensor, " n"]:
    """Decisions from scores (the lowest class on a tie), integer classes or class names.

    Args:
        output: array-like [n, K] of scores, or [n] of integers or names; axes of length 1 after the first are dropped.
            A list may hold None, or lists of names, for some images: see `unclear`.
        count: n.
        classes: K, the one that stands for unclear answers included.
        who: names the model in errors.
        labels: name of each class of the model's own, for one that answers with names.
        classes_map: which of the K classes each of the model's own is; None: they are the same. A column of scores
            that is none of ours is left out; a number or a name that is none is off the list.
        unclear: what becomes of no answer, of several, and of one off the list.
        where: the parameter that says which output this is, for errors.

    Raises:
        TeacherError: one line; another shape or type, NaN; a class outside 0 … K−1 or an unknown name, unless
            declared.
    """
    if isinstance(output, np.ndarray) and output.dtype == object:
        output = output.tolist()
    if isinstance(output, list | tuple) and len(output) == count and any(map(_is_list_of_names, output)):
        each = [read_class(answer, classes, who, labels, classes_map, unclear) for answer in output]
        return torch.tensor(each, dtype=torch.int64)
    array = _array(output, who)
    rows = array.shape[0] if array.ndim else -1
    if rows != count:
        found = f"{rows} answers" if array.ndim else "None" if output is None else "a single value"
        raise TeacherError(f"{who} gave {found} to {count} images; expected one for each: check its output")
    wide = array.reshape(count, -1) if count else array.reshape(0, 1)
    kind, columns, own = array.dtype.kind, wide.shape[1], unclear.own(classes, classes_map)
    if kind in "iuf" and columns == own:
        if kind == "f" and np.isnan(wide).any():
            raise TeacherError(
                f"{who} gave NaN as a score; expected numbers: check what it is shown (mean, std, scale)"
            )
        decisions, told = _best(wide, who, classes_map, unclear.threshold)
        return torch.from_numpy(unclear.settle("nothing", decisions, classes, told))
    if columns == 1 and kind in "iuOUS":
        if unclear.threshold is not None:
            raise TeacherError(
                f"{who} answered with a class and no scores, of which teacher.threshold is {unclear.threshold:g}: "
                f"leave it out, or name the scores in {where}"
            )
        answers = wide[:, 0]
        told_own = _in_range(answers, own, who) if kind in "iu" else _named(answers.tolist(), own, who, labels)
        decisions, told = _mapped(*told_own, who, classes_map)
        return torch.from_numpy(unclear.settle("off_list", decisions, classes, told))
    remedy = (
        "answer with integers, or with scores"
        if columns == 1
        else f"name the right output in {where}, set teacher.classes, or list in teacher.classes_map which of ours "
        "each of its own is"
    )
    raise TeacherError(
        f"{who} gave an output of shape {list(array.shape)} in {array.dtype}; expected [{count}, {own}] scores, or "
        f"{count} integer classes or names: {remedy}"
    )


def reader(
    spec: TeacherSpec, who: str, labels: Sequence[str], classes_map: ClassesMap | None, unclear: Unclear
) -> Callable[[Any, int], Int[Tensor, " n"]]:
    """`read_decisions` of one model: (output, number of images) → decisions.

    Raises:
        ConfigError: see `check_naming`.
    """
    check_naming(spec.classes - unclear.reject, labels, classes_map)
    return partial(
        read_decisions, classes=spec.classes, who=who, labels=labels, classes_map=classes_map, unclear=unclear
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
    answer: Any,
    classes: int,
    who: str,
    labels: Sequence[str] | None,
    classes_map: ClassesMap | None = None,
    unclear: Unclear = STRICT,
) -> int:
    """The class of one answer: an integer, a name, or a list of K scores; or as `unclear` says where it is None, an
    empty list or a list of names.

    Raises:
        TeacherError: it is none of these.
    """
    if answer is None or (_is_list_of_names(answer) and len(answer) != 1 and not (unclear.first and answer)):
        kind = "several" if answer else "nothing"
        told = f"{who} answered with {f'{len(answer)} classes' if answer else 'no class'}; expected one: "
        told += f"take the first with teacher.several=first, {_OR_DECLARE}" if answer else _OR_DECLARE[3:]
        return int(unclear.settle(kind, np.array([_NONE]), classes, told)[0])
    answer = answer[0] if _is_list_of_names(answer) else answer
    objects = isinstance(answer, list) and any(isinstance(each, dict) for each in answer)
    if isinstance(answer, bool) or not isinstance(answer, str | int | list) or objects:
        raise TeacherError(
            f"{who} answered {one_line(repr(answer), 60)}; expected a class number, a class name or "
            f"{unclear.own(classes, classes_map)} scores: correct teacher.http.answer"
        )
    return int(read_decisions([answer], 1, classes, who, labels, classes_map, unclear, "teacher.http.answer")[0])


def _is_list_of_names(answer: Any) -> bool:
    """Whether an answer is none, or a list of any number of names."""
    return answer is None or (isinstance(answer, list | tuple) and all(isinstance(name, str) for name in answer))


def _array(output: Any, who: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(output.detach().cpu() if isinstance(output, Tensor) else output)
    except (ValueError, TypeError, OverflowError) as error:
        raise TeacherError(
            f"{who} gave something that is no array ({one_line(error)}); expected classes or scores"
        ) from None


_Read = tuple[npt.NDArray[np.int64], str]  # answers, of which some may be _NONE, and the error for those


def _best(scores: npt.NDArray[Any], who: str, classes_map: ClassesMap | None, threshold: float | None) -> _Read:
    columns = meant = np.arange(scores.shape[1])
    if classes_map is not None:
        # In the order of our classes: the lowest of them wins a tie.
        ours = sorted((ours, own) for own, ours in enumerate(classes_map) if ours is not None)
        columns, meant = np.array([own for _, own in ours], np.int64), np.array([ours for ours, _ in ours], np.int64)
    scores = scores[:, columns]
    found = meant[scores.argmax(axis=1)].astype(np.int64)
    if threshold is None or not len(scores) or (best := scores.max(axis=1)).min() >= threshold:
        return found, ""
    told = (
        f"{who} gave {best.min():g} as its best score, below teacher.threshold of {threshold:g}; expected that much: "
        f"lower it, {_OR_DECLARE}"
    )
    return np.where(best < threshold, _NONE, found), told


def _mapped(answers: npt.NDArray[np.int64], told: str, who: str, classes_map: ClassesMap | None) -> _Read:
    if classes_map is None:
        return answers, told
    meant = np.array([*(_NONE if ours is None else ours for ours in classes_map), _NONE], np.int64)[answers]
    lost = (meant == _NONE) & (answers != _NONE)
    if lost.any() and not told:
        told = (
            f"{who} answered its class {int(answers[lost][0])}, which teacher.classes_map leaves out: say which class "
            f"it is, {_OR_DECLARE}"
        )
    return meant, told


def _in_range(answers: npt.NDArray[Any], classes: int, who: str) -> _Read:
    wrong = (answers < 0) | (answers >= classes)
    if not wrong.any():
        return answers.astype(np.int64), ""
    told = (
        f"{who} answered class {int(answers[wrong][0])}; expected 0 … {classes - 1}: set teacher.classes_map=from_one "
        f"where it counts from 1, list there which of ours each of its own is, {_OR_DECLARE}"
    )
    return np.where(wrong, 0, answers).astype(np.int64) - wrong, told


def _named(answers: list[Any], classes: int, who: str, labels: Sequence[str] | None) -> _Read:
    names = [name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in answers]
    index = {name: place for place, name in enumerate((labels or [])[:classes])}
    found = np.array([index.get(name, _NONE) if isinstance(name, str) else _NONE for name in names], np.int64)
    strange = [name for name in names if not isinstance(name, str)]
    if strange or (found == _NONE).any():
        wrong = strange[0] if strange else names[int((found == _NONE).argmax())]
        known = ", ".join(list(index)[:5]) + (", …" if len(index) > 5 else "")
        told = (
            f"{who} answered {one_line(repr(wrong), 60)}; expected one of {known or 'no names'}: list them in "
            f"teacher.labels, {_OR_DECLARE}"
        )
        if strange:  # no answer of a model: a defect of what reads it
            raise TeacherError(told)
        return found, told
    return found, ""
