"""The paper's mapping against its formula, and the rule for τ."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from db3.soft_labels import inverse, inverse_temperature
from tests.soft_labels.conftest import Problem, problems


def _logits(distances: np.ndarray, decisions: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """z of the paper, sample by sample."""
    z = np.zeros(distances.shape)
    for row, decision in enumerate(decisions):
        for k in range(distances.shape[1]):
            z[row, k] = 0 if k == decision else 1 / float(distances[row, k])
        z[row, decision] = z[row].sum()
    return z


@pytest.mark.parametrize("temperature", [0.3, 1.0, 20.0])
@pytest.mark.parametrize("unreached", [0.0, 0.3])
def test_soft_labels_are_the_papers(problem: Callable[..., Problem], temperature: float, unreached: float) -> None:
    distances, decisions = problem(unreached=unreached)
    expected = scipy.special.softmax(_logits(distances, decisions) / temperature, axis=1)
    np.testing.assert_allclose(inverse(distances, decisions, temperature), expected, rtol=1e-5)


def test_hand_made_numbers() -> None:
    """d = 1, 1/2: z = 3 | 1, 2."""
    found = inverse(np.array([[0, 1, 0.5]]), np.array([0]), 1.0)[0]
    expected = np.exp([3.0, 1.0, 2.0])
    assert found.tolist() == pytest.approx((expected / expected.sum()).tolist())


def test_an_unreached_class_counts_as_robustness_zero() -> None:
    found = inverse(np.array([[0, 1, np.inf]]), np.array([0]), 1.0)[0]
    expected = np.exp([1.0, 1.0, 0.0])
    assert found.tolist() == pytest.approx((expected / expected.sum()).tolist())


def test_a_distance_of_zero_stays_finite() -> None:
    found = inverse(np.array([[0.0, 0.0, 1.0]]), np.array([0]), 20.0)
    assert np.isfinite(found).all()
    assert found[0, 0] == found.max()


@given(problems(), st.floats(0.05, 1e3))
def test_rows_are_distributions_whose_greatest_is_the_decision(given_: Problem, temperature: float) -> None:
    distances, decisions = given_
    found = inverse(distances, decisions, temperature)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert np.array_equal(found.max(axis=1), found[np.arange(len(found)), decisions])


@given(problems(low=2.0**-7))
def test_nearer_classes_are_more_probable(given_: Problem) -> None:
    distances, decisions = given_
    found = inverse(distances, decisions, 5.0)
    for row, decision in enumerate(decisions):
        other = np.arange(distances.shape[1]) != decision
        order = np.argsort(distances[row, other], kind="stable")
        assert (np.diff(found[row, other][order]) <= 0).all()


@pytest.mark.parametrize("unreached", [0.0, 0.3])
@pytest.mark.parametrize("gap", [0.5, 2.0, 7.0])
def test_by_the_rule_the_mean_log_odds_are_the_gap(
    problem: Callable[..., Problem], unreached: float, gap: float
) -> None:
    distances, decisions = problem(unreached=unreached)
    rows = np.arange(len(distances))
    found = inverse(distances, decisions, inverse_temperature(distances, decisions, gap)).astype(float)
    other = np.arange(distances.shape[1]) != decisions[:, None]
    odds = (np.log(found[rows, decisions])[:, None] - np.log(found))[other]
    assert odds.mean() == pytest.approx(gap, rel=1e-4)


def test_with_no_boundary_known_there_is_still_a_scale() -> None:
    distances = np.array([[0.0, np.inf, np.inf]])
    temperature = inverse_temperature(distances, np.array([0]), 2.0)
    assert temperature > 0
    assert np.isfinite(inverse(distances, np.array([0]), temperature)).all()


def test_for_two_classes_the_papers_mapping_says_nothing() -> None:
    """z_m is then a sum over one class, so both are equal whatever the distance: a limit of the paper's formula."""
    found = inverse(np.array([[0.0, 0.1], [7.0, 0.0]]), np.array([0, 1]), 1.0)
    assert (found == 0.5).all()
