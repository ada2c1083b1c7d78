"""The measures against hand counts, the statistics module and their own algebra."""

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db3.errors import DataError
from db3.evaluation import accuracy, agreement, confusion, summary


def test_accuracy_is_the_share_of_hits() -> None:
    assert accuracy(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])) == 0.75


def test_agreement_is_symmetric_and_one_with_itself() -> None:
    a, b = np.array([0, 1, 2, 1, 0]), np.array([0, 2, 2, 1, 1])
    assert agreement(a, b) == agreement(b, a) == pytest.approx(3 / 5)
    assert agreement(a, a) == 1


@pytest.mark.parametrize("function", [accuracy, agreement])
def test_different_lengths_and_no_images_are_refused(function) -> None:  # noqa: ANN001
    with pytest.raises(DataError, match="3 decisions beside 2"):
        function(np.array([0, 1, 1]), np.array([0, 1]))
    with pytest.raises(DataError, match="0 test images"):
        function(np.array([], dtype=np.int64), np.array([], dtype=np.int64))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_summary_is_the_sample_standard_deviation(values: list[float]) -> None:
    told = summary(values)
    assert told["mean"] == pytest.approx(statistics.fmean(values), abs=1e-12)
    assert told["sd"] == pytest.approx(statistics.stdev(values), abs=1e-12)


def test_summary_of_one_value_has_no_spread() -> None:
    assert summary([0.5]) == {"mean": 0.5, "sd": 0.0}
    with pytest.raises(DataError, match="0 values"):
        summary([])


def test_confusion_counts_teacher_in_rows_and_student_in_columns() -> None:
    counts = confusion(np.array([0, 0, 1, 3]), np.array([0, 1, 1, 0]), 4)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    assert counts.dtype == np.int64


def test_confusion_trace_is_the_agreement() -> None:
    random = np.random.default_rng(0)
    a, b = random.integers(0, 7, 500), random.integers(0, 7, 500)
    counts = confusion(a, b, 7)
    assert counts.sum() == 500
    assert np.trace(counts) / 500 == agreement(a, b)


def test_confusion_of_nothing_is_zero_and_a_foreign_class_is_named() -> None:
    nothing = np.array([], dtype=np.int64)
    assert confusion(nothing, nothing, 3).sum() == 0
    with pytest.raises(DataError, match="student decided class 3; expected 0 … 2"):
        confusion(np.array([0]), np.array([3]), 3)
