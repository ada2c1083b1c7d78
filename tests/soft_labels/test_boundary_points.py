"""Labels of boundary points against halves, and against the margin mapping's own formula."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from db3.soft_labels import boundary_point_labels, margin
from tests.soft_labels.conftest import Problem, problems


def _pairs(distances: np.ndarray, decisions: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    reached = np.isfinite(distances)
    reached[np.arange(len(distances)), decisions] = False
    return np.argwhere(reached)


def test_halves(problem: Callable[..., Problem]) -> None:
    distances, decisions = problem(unreached=0.3)
    pairs = _pairs(distances, decisions)
    for (row, k), label in zip(pairs, boundary_point_labels(distances, decisions, pairs), strict=True):
        expected = np.zeros(distances.shape[1])
        expected[[decisions[row], k]] = 0.5
        assert label.tolist() == expected.tolist()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_with_beta_a_label_is_the_margins_at_that_point(problem: Callable[..., Problem], smoothing: float) -> None:
    distances, decisions = problem(unreached=0.3)
    pairs = _pairs(distances, decisions)
    found = boundary_point_labels(distances, decisions, pairs, 1.7, smoothing)
    for (row, k), label in zip(pairs, found, strict=True):
        logits = []
        for j in range(distances.shape[1]):
            nearest = max(0.0, float(distances[row, j]) - float(distances[row, k]))
            logits.append(0.0 if j in (k, decisions[row]) else -1.7 * nearest)
        expected = (1 - smoothing) * scipy.special.softmax(logits) + smoothing / distances.shape[1]
        assert label == pytest.approx(expected, rel=1e-5)


def test_hand_made_numbers() -> None:
    """d = 0, 1, 1 + ln 2 at β = 1: the point to class 1 has d' = 0, 0, ln 2, so p = 2/5, 2/5, 1/5."""
    distances = np.array([[0, 1, 1 + np.log(2)]])
    found = boundary_point_labels(distances, np.array([0]), np.array([[0, 1]]), 1.0)[0]
    assert found.tolist() == pytest.approx([0.4, 0.4, 0.2])


def test_a_sample_on_its_boundary_has_the_label_of_its_tie() -> None:
    distances = np.array([[0, 0.0, 2.0]])
    assert boundary_point_labels(distances, np.array([0]), np.array([[0, 1]]), 1.3) == pytest.approx(
        margin(distances, np.array([0]), 1.3)
    )


@given(problems(), st.one_of(st.none(), st.floats(1e-3, 50)), st.floats(0, 0.5))
def test_m_and_k_are_alike_and_no_class_is_likelier(given_: Problem, beta: float | None, smoothing: float) -> None:
    distances, decisions = given_
    pairs = _pairs(distances, decisions)
    found = boundary_point_labels(distances, decisions, pairs, beta, smoothing)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    for (row, k), label in zip(pairs, found, strict=True):
        assert label[k] == label[decisions[row]] == label.max()


def test_no_pair_no_label(problem: Callable[..., Problem]) -> None:
    distances, decisions = problem()
    assert boundary_point_labels(distances, decisions, np.empty((0, 2), np.int64), 1.0).shape == (0, 6)
