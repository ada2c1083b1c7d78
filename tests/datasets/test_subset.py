"""Samples drawn from a training part."""

import inspect
import itertools

import numpy as np
import pytest

from db3.datasets.subset import draw_samples
from db3.errors import ConfigError


def test_places_are_sorted_distinct_and_inside() -> None:
    found = draw_samples(500, 80, seed=3)
    assert found.dtype == np.int64
    assert len(set(found.tolist())) == 80
    assert found.tolist() == sorted(found.tolist())
    assert 0 <= found[0] < found[-1] < 500


def test_a_smaller_draw_is_part_of_a_larger_one() -> None:
    draws = [set(draw_samples(300, count, seed=1).tolist()) for count in (10, 50, 299, 300)]
    assert all(small < large for small, large in itertools.pairwise(draws))


def test_the_seed_decides() -> None:
    first = draw_samples(300, 50, seed=1)
    assert np.array_equal(first, draw_samples(300, 50, seed=1))
    assert not np.array_equal(first, draw_samples(300, 50, seed=2))


def test_draws_are_spread_evenly() -> None:
    """Over 200 seeds each of 20 places is drawn about half of the time (5 sigma)."""
    counts = np.zeros(20)
    for seed in range(200):
        counts[draw_samples(20, 10, seed)] += 1
    assert (abs(counts - 100) < 5 * 50**0.5).all()


def test_none_means_all() -> None:
    assert draw_samples(7, None, seed=0).tolist() == list(range(7))
    assert draw_samples(7, 7, seed=0).tolist() == list(range(7))


def test_no_label_is_looked_at() -> None:
    """It cannot: it is told a number only."""
    assert list(inspect.signature(draw_samples).parameters) == ["available", "count", "seed"]


def test_more_than_there_are_is_refused_in_one_line() -> None:
    with pytest.raises(
        ConfigError, match=r"samples\.count is 8, but the training part has 7 images: lower it"
    ) as error:
        draw_samples(7, 8, seed=0)
    assert "\n" not in str(error.value)
