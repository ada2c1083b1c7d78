import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db3.zero_shot.quotas import choose, quotas


def test_quotas_follow_the_inverse_of_the_counts() -> None:
    counts = np.array([100, 300, 0])
    dealt = quotas(counts, np.array([1000, 1000, 1000]), 600)
    weights = 1 / (counts + 8)
    assert dealt.sum() == 600
    assert np.allclose(dealt, 600 * weights / weights.sum(), atol=1)


def test_what_a_class_cannot_fill_goes_to_the_others() -> None:
    assert quotas(np.array([0, 50, 50]), np.array([3, 500, 500]), 103).tolist() == [3, 50, 50]
    assert quotas(np.array([0, 50]), np.array([3, 4]), 100).tolist() == [3, 4]
    assert quotas(np.array([0, 0]), np.array([0, 9]), 4).tolist() == [0, 4]


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8),
    st.integers(0, 200),
)
def test_quotas_are_filled_as_far_as_candidates_reach(classes: list[tuple[int, int]], wanted: int) -> None:
    counts, available = np.array(classes).T
    dealt = quotas(counts.copy(), available.copy(), wanted)
    assert (dealt >= 0).all()
    assert (dealt <= available).all()
    assert dealt.sum() == min(wanted, available.sum())


@pytest.mark.parametrize("wanted", [0, 7, 40, 100])
def test_chosen_candidates(wanted: int) -> None:
    predicted = np.random.default_rng(0).integers(0, 4, 60)
    counts = np.array([5, 5, 90, 5, 5])
    chosen = choose(predicted, counts, wanted, 3, "x", 1)
    assert len(chosen) == min(wanted, 60)
    assert (np.diff(chosen) > 0).all()
    available = np.bincount(predicted, minlength=5)
    assert np.array_equal(np.bincount(predicted[chosen], minlength=5), quotas(counts, available, wanted))
    assert np.array_equal(choose(predicted, counts, wanted, 3, "x", 1), chosen)
    if wanted == 7:
        assert not np.array_equal(choose(predicted, counts, wanted, 3, "x", 2), chosen)
