"""Batches of originals and groups: counts, epochs, keys, and what is held out."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db3.errors import ConfigError
from db3.training.batches import Part, batches, class_weights, parts, shares
from db3.training.examples import Examples, Group

Bars = Callable[..., Examples]


def _parts(examples: Examples, *groups: Group, batch: int = 16, held: np.ndarray | None = None) -> list[Part]:  # type: ignore[type-arg]
    learnt = np.arange(len(examples)) if held is None else np.setdiff1d(np.arange(len(examples)), held)
    return parts(examples, groups, learnt, held, batch=batch, ce=1.0, kl=0.0, temperature=1.0, seed=3, device="cpu")


@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_every_epoch_shows_every_example_once(count: int, batch: int, seed: int) -> None:
    indices = np.arange(count) * 3
    drawn = np.concatenate(list(itertools.islice(batches(indices, batch, seed), 8)))
    assert len(drawn) == 8 * batch
    for start in range(0, len(drawn) - count + 1, count):
        assert sorted(drawn[start : start + count]) == indices.tolist()


def test_epochs_differ_and_are_the_same_for_every_batch_size() -> None:
    def stream(batch: int, *identity: str) -> list[int]:
        drawn = itertools.islice(batches(np.arange(20), batch, 5, *identity), 40 // batch)
        return [int(index) for part in drawn for index in part]

    assert stream(4) == stream(10)
    assert stream(20)[:20] != stream(20)[20:]
    assert stream(4, "boundary_points") == stream(10, "boundary_points") != stream(4)


def test_a_batch_is_shared_out(bars: Bars) -> None:
    groups = [Group("boundary_points", bars(30), 0.25), Group("queried_images", bars(90), 0.5)]
    assert shares(128, groups) == [32, 32, 64]
    assert shares(4, [Group("boundary_points", bars(3), 0.01)]) == [3, 1]
    assert shares(128, []) == [128]
    drawn = _parts(bars(10), *groups)
    for _ in range(9):
        assert [len(next(part.batches)) for part in drawn] == [4, 4, 8]


@pytest.mark.parametrize("many", [[0.5, 0.5], [0.99]])
def test_originals_must_have_room(bars: Bars, many: list[float]) -> None:
    groups = [Group(f"group {number}", bars(3), share) for number, share in enumerate(many)]
    with pytest.raises(ConfigError, match="no room for originals"):
        shares(16, groups)


def test_numbers_go_on_from_part_to_part(bars: Bars) -> None:
    drawn = _parts(bars(10), Group("a", bars(7), 0.2), Group("b", bars(5), 0.2))
    assert [part.first for part in drawn] == [0, 10, 17]


def test_groups_must_have_names_of_their_own(bars: Bars) -> None:
    with pytest.raises(ConfigError, match="name them apart"):
        _parts(bars(10), Group("a", bars(7), 0.2), Group("a", bars(7), 0.2))


def test_a_groups_order_depends_on_its_name_alone(bars: Bars) -> None:
    boundary_points = Group("boundary_points", bars(30), 0.25)
    alone = _parts(bars(10), boundary_points)[1]
    beside = _parts(bars(12), Group("queried_images", bars(9), 0.25), boundary_points)[2]
    for _ in range(10):
        assert np.array_equal(next(alone.batches), next(beside.batches))


def test_descendants_of_what_is_held_out_are_not_learnt(bars: Bars) -> None:
    parents = np.array([0, 1, 2, 3, 0, 1, 2, 3])
    group = Group("boundary_points", bars(8), 0.5, parents=parents)
    held = np.array([1, 3])
    drawn = _parts(bars(4), group, held=held)[1]
    seen = np.concatenate([next(drawn.batches) for _ in range(20)])
    assert set(seen) == {0, 2, 4, 6}
    free = _parts(bars(4), Group("boundary_points", bars(8), 0.5), held=held)[1]
    assert set(np.concatenate([next(free.batches) for _ in range(20)])) == set(range(8))
    with pytest.raises(ConfigError, match="every example of group boundary_points descends"):
        _parts(bars(4), group, held=np.arange(4))


def test_weighted_epochs_hold_each_example_as_often_as_its_weight_says() -> None:
    indices, weights = np.arange(5) * 2, np.array([0.5, 0.3, 0.1, 0.1, 0.0])
    drawn = np.concatenate(list(itertools.islice(batches(indices, 5, 0, weights=weights), 400)))
    for start in range(0, 2000, 5):
        times = np.bincount(drawn[start : start + 5], minlength=9)[::2]
        assert (times >= np.floor(5 * weights)).all()
        assert (times <= np.ceil(5 * weights)).all()
    assert np.allclose(np.bincount(drawn, minlength=9)[::2] / 2000, weights, atol=0.02)


def test_class_weights() -> None:
    decisions = np.array([0] * 16 + [2] * 4)
    assert np.allclose(class_weights(decisions, 0.0), 1 / 20)
    alike = class_weights(decisions, 1.0)
    assert np.isclose(alike[:16].sum(), 0.5)
    half = class_weights(decisions, 0.5)
    assert np.isclose(half[:16].sum() / half[16:].sum(), 2.0)


def test_balanced_parts_draw_rare_classes_more_often(bars: Bars) -> None:
    examples = bars(60)
    rare = Examples(examples.images, np.array([0] * 50 + [1] * 10))
    (part,) = parts(
        rare, [], np.arange(60), None, batch=30, ce=1.0, kl=0.0, temperature=1.0, seed=3, device="cpu", balance=1.0
    )
    drawn = np.concatenate([next(part.batches) for _ in range(40)])
    assert abs((drawn >= 50).mean() - 0.5) < 0.02
