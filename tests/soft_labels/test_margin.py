"""The margin mapping against its formula, and the rule for β."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from db3.soft_labels import margin, margin_beta
from tests.soft_labels.conftest import Problem, problems


def test_soft_labels_are_the_softmax_of_minus_beta_d(problem: Callable[..., Problem]) -> None:
    distances, decisions = problem()
    expected = scipy.special.softmax(-1.7 * distances.astype(float), axis=1)
    np.testing.assert_allclose(margin(distances, decisions, 1.7), expected, rtol=1e-6)


def test_hand_made_numbers() -> None:
    """β·d = 0, ln 2, ln 4: p = 4/7, 2/7, 1/7."""
    distances = np.array([[np.log(2) / 2, 0, np.log(4) / 2]])
    assert margin(distances, np.array([1]), 2.0)[0].tolist() == pytest.approx([2 / 7, 4 / 7, 1 / 7])


def test_an_unreached_class_has_no_probability() -> None:
    distances = np.array([[0, 1, np.inf], [np.inf, np.inf, 0]], dtype=np.float32)
    found = margin(distances, np.array([0, 2]), 1.0)
    assert found[0, 2] == 0
    assert found[1].tolist() == [0, 0, 1]


def test_the_entry_of_the_decision_is_taken_as_zero() -> None:
    for entry in (0.0, 5.0, np.inf):
        distances = np.array([[entry, 1.0, 2.0]])
        assert np.array_equal(
            margin(distances, np.array([0]), 1.0), margin(np.array([[0.0, 1.0, 2.0]]), np.array([0]), 1.0)
        )


def test_a_sample_on_a_boundary_is_a_tie() -> None:
    assert margin(np.array([[0.0, 0.0]]), np.array([1]), 3.0).tolist() == [[0.5, 0.5]]


@given(problems(), st.floats(1e-3, 100))
def test_rows_are_distributions_whose_greatest_is_the_decision(given_: Problem, beta: float) -> None:
    distances, decisions = given_
    found = margin(distances, decisions, beta)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert (found >= 0).all()
    assert np.array_equal(found.max(axis=1), found[np.arange(len(found)), decisions])


@given(problems(), st.randoms(use_true_random=False))
def test_renaming_the_classes_renames_the_columns(given_: Problem, random: object) -> None:
    distances, decisions = given_
    order = np.arange(distances.shape[1])
    random.shuffle(order)  # type: ignore[attr-defined]
    place = np.argsort(order)
    np.testing.assert_allclose(
        margin(distances[:, order], place[decisions], 1.3), margin(distances, decisions, 1.3)[:, order], rtol=1e-6
    )


@given(problems(), st.floats(0.01, 100))
def test_the_unit_of_the_distance_does_not_matter_with_the_rule(given_: Problem, unit: float) -> None:
    distances, decisions = given_
    other = (distances * unit).astype(np.float64)
    one = margin(distances.astype(np.float64), decisions, margin_beta(distances.astype(np.float64), decisions, 2.0))
    np.testing.assert_allclose(margin(other, decisions, margin_beta(other, decisions, 2.0)), one, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("unreached", [0.0, 0.3])
@pytest.mark.parametrize("gap", [0.5, 2.0, 7.0])
def test_by_the_rule_the_mean_log_odds_are_the_gap(
    problem: Callable[..., Problem], unreached: float, gap: float
) -> None:
    """Measured on the soft labels themselves, over the pairs that were reached."""
    distances, decisions = problem(unreached=unreached)
    rows = np.arange(len(distances))
    found = margin(distances, decisions, margin_beta(distances, decisions, gap)).astype(float)
    reached = np.isfinite(distances)
    reached[rows, decisions] = False
    odds = np.log(found[rows, decisions])[:, None] - np.log(found, where=found > 0, out=np.zeros_like(found))
    assert odds[reached].mean() == pytest.approx(gap, rel=1e-4)


def test_with_no_boundary_known_the_labels_are_the_bare_decisions() -> None:
    distances = np.array([[0.0, np.inf], [np.inf, 0.0]])
    beta = margin_beta(distances, np.array([0, 1]), 2.0)
    assert beta == 2.0
    assert margin(distances, np.array([0, 1]), beta).tolist() == [[1, 0], [0, 1]]


def test_samples_that_all_lie_on_their_boundaries_still_have_a_scale() -> None:
    distances = np.zeros((3, 2))
    beta = margin_beta(distances, np.zeros(3, dtype=np.int64), 2.0)
    assert np.isfinite(beta)
    assert (margin(distances, np.zeros(3, dtype=np.int64), beta) == 0.5).all()
