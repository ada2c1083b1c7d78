"""Start samples against brute force."""

import numpy as np
import pytest

from db3.errors import DataError
from db3.search import starts
from db3.search.starts import check_classes, nearest_starts

Drawn = tuple[np.ndarray, np.ndarray]  # type: ignore[type-arg]


def _pool(count: int, classes: int, levels: int = 256, seed: int = 0, shape: tuple[int, ...] = (1, 3, 4)) -> Drawn:
    drawn = np.random.default_rng(seed)
    return drawn.integers(0, levels, (count, *shape), dtype=np.uint8), drawn.integers(0, classes, count)


def _brute_force(images: np.ndarray, pool: Drawn, classes: int, count: int) -> Drawn:  # type: ignore[type-arg]
    """All distances in Python integers; boundary points to the earlier sample."""
    index = np.full((len(images), classes, count), -1)
    distance = np.full((len(images), classes, count), np.inf)
    for row, image in enumerate(images):
        for k in range(classes):
            found = []
            for place in np.flatnonzero(pool[1] == k):
                difference = pool[0][place].astype(int) - image.astype(int)
                found.append((int((difference**2).sum()), int(place)))
            for rank, (squared, place) in enumerate(sorted(found)[:count]):
                index[row, k, rank], distance[row, k, rank] = place, np.sqrt(squared) / 255
    return index, distance


@pytest.mark.parametrize(("count", "classes", "wanted"), [(40, 3, 1), (40, 3, 4), (12, 5, 6), (200, 2, 3)])
def test_the_nearest_are_those_of_brute_force(count: int, classes: int, wanted: int) -> None:
    pool = _pool(count, classes)
    index, distance = nearest_starts(pool[0][:9], *pool, classes, wanted)
    expected = _brute_force(pool[0][:9], pool, classes, wanted)
    assert np.array_equal(index, expected[0])
    np.testing.assert_allclose(distance, expected[1], rtol=1e-6)


@pytest.mark.parametrize("values", [12, 60, 12 * 17])
def test_a_pool_read_in_pieces_gives_the_same(monkeypatch: pytest.MonkeyPatch, values: int) -> None:
    """Few grey levels make many boundary points, also across pieces: they go to the earlier sample."""
    pool = _pool(97, 4, levels=3, seed=1)
    whole = nearest_starts(pool[0][:20], *pool, 4, 5)
    assert np.array_equal(whole[0], _brute_force(pool[0][:20], pool, 4, 5)[0])
    monkeypatch.setattr(starts, "_PIECE_VALUES", values)
    monkeypatch.setattr(starts, "_ROWS", 7)
    monkeypatch.setattr(starts, "_EXACT_PIXELS", 5)
    pieces = nearest_starts(pool[0][:20], *pool, 4, 5)
    assert all(np.array_equal(part, other) for part, other in zip(whole, pieces, strict=True))


def test_equal_distances_go_to_the_earlier_sample() -> None:
    pool = np.zeros((6, 1, 1, 2), dtype=np.uint8)
    pool[[1, 3, 4]] = [[[[3, 4]]], [[[5, 0]]], [[[0, 5]]]]
    decisions = np.array([0, 1, 0, 1, 1, 0])
    index, distance = nearest_starts(pool[:1], pool, decisions, 2, 3)
    assert index[0].tolist() == [[0, 2, 5], [1, 3, 4]]
    assert distance[0, 1].tolist() == pytest.approx([5 / 255] * 3)


def test_a_class_with_fewer_samples_is_filled_up_with_nothing() -> None:
    pool = _pool(10, 1)
    decisions = np.array([0] * 9 + [2])
    index, distance = nearest_starts(pool[0][:2], pool[0], decisions, 4, 3)
    assert index[:, 2].tolist() == [[9, -1, -1]] * 2
    assert np.isinf(distance[:, 2, 1:]).all()
    assert (index[:, [1, 3]] == -1).all()
    assert np.isinf(distance[:, [1, 3]]).all()


def test_the_largest_distances_are_exact() -> None:
    """Black against white in a large colour image: 65,025 × 150,528 needs more digits than float32 has."""
    pool = np.zeros((3, 3, 224, 224), dtype=np.uint8)
    pool[1], pool[2] = 255, 255
    pool[1, 0, 0, 0] = 254  # by one grey level in one pixel nearer to black
    index, _ = nearest_starts(pool[:1], pool, np.array([0, 1, 1]), 2, 2)
    assert index[0, 1].tolist() == [1, 2]
    index, _ = nearest_starts(pool[:1], pool[[0, 2, 1]], np.array([0, 1, 1]), 2, 2)
    assert index[0, 1].tolist() == [2, 1]


def test_a_class_without_a_sample_is_named() -> None:
    decisions = np.array([0, 0, 2, 4])
    names = ["zero", "one", "two", "three", "four"]
    with pytest.raises(DataError, match="none of the 4 samples as: one, three; ") as raised:
        check_classes(decisions, names, allow_missing=False)
    assert "samples.missing_classes=allow" in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(DataError, match=r"raise samples\.budget"):
        check_classes(decisions, names, allow_missing=False, more="samples.budget")
    check_classes(decisions, names, allow_missing=True)
    check_classes(np.arange(5), names, allow_missing=False)


def test_many_missing_classes_make_a_short_message() -> None:
    with pytest.raises(DataError, match=r"class1, .*class10 and 89 more;") as raised:
        check_classes(np.zeros(3, dtype=np.int64), [f"class{k}" for k in range(100)], allow_missing=False)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_distances_are_those_of_integer_arithmetic(shape: tuple[int, int, int]) -> None:
    """Black, white and noise: the largest sums that float32 has to keep exact, and past 2**24 in all."""
    draw = np.random.default_rng(0)
    pool = np.concatenate([draw.integers(0, 256, (30, *shape)), np.zeros((1, *shape)), np.full((1, *shape), 255)])
    pool = pool.astype(np.uint8)
    index, distances = nearest_starts(pool, pool, np.zeros(len(pool), np.int64), 1, len(pool))
    flat = pool.reshape(len(pool), -1).astype(np.int64)
    squared = ((flat[:, None] - flat) ** 2).sum(axis=2)
    order = np.argsort(squared, axis=1, kind="stable")
    assert np.array_equal(index[:, 0], order)
    exact = np.sqrt(np.take_along_axis(squared, order, axis=1).astype(np.float64)) / 255
    assert np.array_equal(distances[:, 0], exact.astype(np.float32))
