import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db3.datasets.splits import draw, held_out, published
from db3.errors import DataError


@given(
    labels=st.lists(st.integers(0, 5), min_size=2, max_size=60),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 9),
)
def test_held_out_parts_are_a_partition_in_proportion(labels: list[int], fraction: float, seed: int) -> None:
    array = np.array(labels, dtype=np.int64)
    train, test = held_out(array, fraction, seed)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert list(train) == sorted(train)
    assert list(test) == sorted(test)
    assert set(array[train]) == set(labels)
    for label in set(labels):
        own = fraction * labels.count(label)
        assert own - 1 <= (array[test] == label).sum() + (labels.count(label) == 1) or len(test) == 0
        assert (array[test] == label).sum() <= own + 1


def test_held_out_count_is_exact_where_classes_are_large() -> None:
    labels = np.repeat(np.arange(7, dtype=np.int64), [40, 41, 42, 43, 44, 45, 46])
    for fraction in (0.1, 0.25, 1 / 3, 0.5):
        assert len(held_out(labels, fraction, 0)[1]) == round(fraction * len(labels))


def test_held_out_depends_on_the_seed_alone() -> None:
    labels = np.arange(100, dtype=np.int64) % 4
    first, again, other = (held_out(labels, 0.3, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_one_image_cannot_be_split() -> None:
    with pytest.raises(DataError, match="1 image cannot be split"):
        held_out(np.zeros(1, dtype=np.int64), 0.5, 0)


def test_published_parts_follow_each_other() -> None:
    train, test = published(3, 2)
    assert (train.tolist(), test.tolist()) == ([0, 1, 2], [3, 4])


def test_draws_are_sorted_nested_and_keyed() -> None:
    index = np.arange(50, 150, dtype=np.int64)
    small, large = draw(index, 10, 3, "train"), draw(index, 40, 3, "train")
    assert len(small) == 10
    assert set(small) < set(large) < set(index)
    assert list(large) == sorted(large)
    assert small.tolist() != draw(index, 10, 3, "test").tolist()
    assert small.tolist() != draw(index, 10, 4, "train").tolist()
    assert draw(index, 1000, 0, "train").tolist() == draw(index, None, 0, "train").tolist() == index.tolist()
