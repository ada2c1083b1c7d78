"""One entry for both mappings."""

from collections.abc import Callable

import numpy as np

from db3.soft_labels import inverse, inverse_temperature, margin, margin_beta, soft_labels
from tests.soft_labels.conftest import Problem


def test_a_given_scale_is_used_and_returned(problem: Callable[..., Problem]) -> None:
    distances, decisions = problem()
    found, beta = soft_labels("margin", distances, decisions, scale=0.7)
    assert beta == 0.7
    assert np.array_equal(found, margin(distances, decisions, 0.7))
    found, temperature = soft_labels("inverse", distances, decisions, scale=20.0)
    assert temperature == 20.0
    assert np.array_equal(found, inverse(distances, decisions, 20.0))


def test_without_a_scale_the_rule_chooses_it(problem: Callable[..., Problem]) -> None:
    distances, decisions = problem()
    found, beta = soft_labels("margin", distances, decisions, gap=3.0)
    assert beta == margin_beta(distances, decisions, 3.0)
    assert np.array_equal(found, margin(distances, decisions, beta))
    found, temperature = soft_labels("inverse", distances, decisions, gap=3.0)
    assert temperature == inverse_temperature(distances, decisions, 3.0)
    assert np.array_equal(found, inverse(distances, decisions, temperature))


def test_nothing_given_is_changed(problem: Callable[..., Problem]) -> None:
    distances, decisions = problem(unreached=0.2)
    before = distances.copy(), decisions.copy()
    soft_labels("margin", distances, decisions)
    soft_labels("inverse", distances, decisions)
    assert np.array_equal(distances, before[0])
    assert np.array_equal(decisions, before[1])
