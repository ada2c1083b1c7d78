import numpy as np
import pytest

from db3.images.priors import prior_images
from db3.images.variations import KINDS, Strength, variation_kinds, variations

STILL = Strength(turn=0.0, scale=0.0, shift=0.0, bend=0.0)


def _parents(count: int, among: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, among, (count, 2))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 7, 12)])
def test_a_child_has_the_same_bits_in_any_batch(shape: tuple[int, int, int]) -> None:
    images = prior_images(shape, range(40), 0)
    parents, numbers = _parents(600, 40), np.arange(600)
    together = variations(images, parents, numbers, 3)
    assert together.dtype == np.uint8
    assert together.shape == (600, *shape)
    for chunk in (1, 5):
        parts = [variations(images, parents[s : s + chunk], numbers[s : s + chunk], 3) for s in range(0, 20, chunk)]
        assert np.array_equal(np.concatenate(parts), together[:20])
    chosen = np.array([599, 4, 511, 512])
    assert np.array_equal(variations(images, parents[chosen], numbers[chosen], 3), together[chosen])


def test_none_at_all() -> None:
    images = prior_images((1, 28, 28), range(4), 0)
    assert variations(images, np.empty((0, 2), np.int64), np.empty(0, np.int64), 0).shape == (0, 1, 28, 28)


def test_kinds_have_their_shares() -> None:
    counts = np.bincount(variation_kinds(np.arange(4000), 1), minlength=len(KINDS)) / 4000
    assert np.allclose(counts, [0.25, 0.35, 0.25, 0.15], atol=0.03)


def test_without_a_warp_each_kind_does_what_it_says() -> None:
    images = np.stack([np.full((1, 16, 16), 40, np.uint8), np.full((1, 16, 16), 200, np.uint8)])
    numbers = np.arange(400)
    parents = np.tile([0, 1], (400, 1))
    made = variations(images, parents, numbers, 1, STILL).astype(int)
    kinds = variation_kinds(numbers, 1, STILL)
    low, high = made.min(axis=(1, 2, 3)), made.max(axis=(1, 2, 3))
    assert (made[kinds == 0] == 40).all()
    assert (made[kinds == 3] == 200).all()
    blended = kinds == 2
    assert (low[blended] == high[blended]).all()
    assert ((low[blended] >= 79) & (high[blended] <= 161)).all()
    cut = kinds == 1
    assert (low[cut] >= 40).all()
    assert (high[cut] <= 200).all()
    assert ((high - low)[cut] > 80).mean() > 0.8


def test_a_warped_child_resembles_its_parent() -> None:
    images = prior_images((1, 28, 28), range(100), 0)
    numbers = np.arange(100)
    only = Strength(cut=0.0, blend=0.0, brighter=0.0)
    made = variations(images, np.tile(numbers[:, None], (1, 2)), numbers, 0, only).astype(float)
    own = np.abs(made - images).mean(axis=(1, 2, 3))
    other = np.abs(made - images[::-1]).mean(axis=(1, 2, 3))
    assert own.mean() < 0.6 * other.mean()
    assert (own > 0).mean() > 0.95
