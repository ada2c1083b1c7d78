"""The measures themselves: pure functions of decisions."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from db3.errors import DataError


def accuracy(decisions: Int[np.ndarray, " n"], labels: Int[np.ndarray, " m"]) -> float:
    """Share of the decisions that equal the label.

    Raises:
        DataError: the two differ in length, or are empty.
    """
    return _share_equal(decisions, labels, "labels")


def agreement(a: Int[np.ndarray, " n"], b: Int[np.ndarray, " m"]) -> float:
    """Share of the images on which two models decide alike (fidelity); symmetric.

    Raises:
        DataError: the two differ in length, or are empty.
    """
    return _share_equal(a, b, "decisions of the other model")


def summary(values: Sequence[float]) -> dict[str, float]:
    """Mean and sample standard deviation (n − 1; 0 for one value), as `{"mean", "sd"}`.

    Raises:
        DataError: no values are given.
    """
    if not len(values):
        raise DataError(
            "the summary of 0 values is undefined; expected one value a seed: set evaluate.seeds to 1 or more"
        )
    numbers = np.asarray(values, dtype=np.float64)
    return {"mean": float(numbers.mean()), "sd": float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0}


def confusion(
    teacher_decisions: Int[np.ndarray, " n"], student_decisions: Int[np.ndarray, " n"], classes: int
) -> Int[np.ndarray, "k k"]:
    """Counts [K, K]: row = the teacher's decision, column = the student's.

    Raises:
        DataError: a decision lies outside 0 … K−1.
    """
    for who, decisions in (("teacher", teacher_decisions), ("student", student_decisions)):
        outside = decisions[(decisions < 0) | (decisions >= classes)]
        if len(outside):
            raise DataError(
                f"the {who} decided class {int(outside[0])}; expected 0 … {classes - 1}: "
                "check that it was trained for these classes"
            )
    cells = np.bincount(teacher_decisions * classes + student_decisions, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


def _share_equal(decisions: Int[np.ndarray, " n"], others: Int[np.ndarray, " m"], what: str) -> float:
    if len(decisions) != len(others):
        raise DataError(
            f"{len(decisions)} decisions beside {len(others)} {what}; expected one each: use one test split"
        )
    if not len(decisions):
        raise DataError("0 test images; expected at least one: raise dataset.test_fraction or dataset.test_limit")
    return float(np.mean(decisions == others))
