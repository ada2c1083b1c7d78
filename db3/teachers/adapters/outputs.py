"""From what a foreign model returns to decisions: nothing that is not plainly one class per image gets through."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from db3.errors import BudgetSpent, TeacherError


class PartlyAnsweredError(TeacherError):
    """The teacher failed for good, or the budget ended, but some of the images asked had been answered (and paid).

    Attributes:
        cause: what ended it.
        known: bool [n], which images.
        decisions: int64 [n], their classes; 0 elsewhere.
    """

    def __init__(
        self, cause: TeacherError | BudgetSpent, known: Bool[Tensor, " n"], decisions: Int[Tensor, " n"]
    ) -> None:
        super().__init__(str(cause))
        self.cause, self.known, self.decisions = cause, known, decisions

    @classmethod
    def of(cls, error: BaseException, told: Sequence[Int[Tensor, " _"] | None], counts: Sequence[int]) -> BaseException:
        """The error to raise: a stranger's passes through, others take along what was answered in each part."""
        if not isinstance(error, TeacherError | BudgetSpent) or all(part is None for part in told):
            return error
        parts = list(zip(told, counts, strict=True))
        known = torch.cat([torch.full((count,), part is not None) for part, count in parts])
        empty = torch.zeros(max(counts), dtype=torch.int64)
        decisions = torch.cat([empty[:count] if part is None else part for part, count in parts])
        return cls(error, known, decisions)


def decisions_of(
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


def index_of(answer: Any, classes: int, who: str, labels: Sequence[str] | None) -> int:
    """The class of one answer: an integer, a name, or a list of K scores.

    Raises:
        TeacherError: it is none of these.
    """
    if isinstance(answer, bool) or not isinstance(answer, str | int | list):
        raise TeacherError(
            f"{who} answered {_short(answer)}; expected a class number, a class name or {classes} scores: "
            "correct teacher.http.answer"
        )
    return int(decisions_of([answer], 1, classes, who, labels)[0])


def _array(output: Any, who: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(output.detach().cpu() if isinstance(output, Tensor) else output)
    except (ValueError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise TeacherError(f"{who} gave something that is no array ({reason}); expected classes or scores") from None


def _in_range(told: npt.NDArray[Any], classes: int, who: str) -> Int[Tensor, " n"]:
    wrong = told[(told < 0) | (told >= classes)]
    if wrong.size:
        raise TeacherError(
            f"{who} answered class {int(wrong[0])}; expected 0 … {classes - 1}: set teacher.classes to its own number"
        )
    return torch.from_numpy(told.astype(np.int64))


def _named(told: list[Any], classes: int, who: str, labels: Sequence[str] | None) -> Int[Tensor, " n"]:
    names = [name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in told]
    index = {name: place for place, name in enumerate((labels or [])[:classes])}
    for name in names:
        if not isinstance(name, str) or name not in index:
            known = ", ".join(list(index)[:5]) + (", …" if len(index) > 5 else "")
            raise TeacherError(
                f"{who} answered {_short(name)}; expected one of {known or 'no names'}: list them in teacher.labels"
            )
    return torch.tensor([index[name] for name in names], dtype=torch.int64)


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
