"""Augmented images: a function of samples, seed and number, in any company."""

import numpy as np
import pytest
import torch

from db3.images import augmented as augment
from db3.images.augmented import augmented_images

Array = np.ndarray  # type: ignore[type-arg]


def _samples(count: int, channels: int = 1, height: int = 16, width: int = 16) -> Array:
    """Smooth blobs on a ramp, so that warps show."""
    drawn = np.random.default_rng(count)
    y, x = np.mgrid[0:height, 0:width]
    images = [
        200 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 12) + 2 * x
        for cx, cy in drawn.uniform(4, 12, (count * channels, 2))
    ]
    return np.array(images).round().astype(np.uint8).reshape(count, channels, height, width)


@pytest.mark.parametrize("shape", [(5, 1, 16, 16), (3, 3, 32, 32), (4, 1, 28, 28), (2, 3, 17, 24), (1, 1, 16, 16)])
def test_images_are_uint8_of_the_samples_shape(shape: tuple[int, int, int, int]) -> None:
    samples = _samples(*shape)
    before = samples.copy()
    made = augmented_images(samples, range(13), seed=0)
    assert made.dtype == np.uint8
    assert made.shape == (13, *shape[1:])
    assert np.array_equal(samples, before)


@pytest.mark.parametrize("shape", [(7, 1, 28, 28), (4, 3, 32, 32), (3, 3, 17, 17), (1, 1, 16, 16), (2, 1, 16, 16)])
@pytest.mark.parametrize("chunk", [1, 3, 8, 33])
def test_an_image_does_not_depend_on_what_is_made_beside_it(shape: tuple[int, int, int, int], chunk: int) -> None:
    samples = _samples(*shape)
    together = augmented_images(samples, range(100), seed=5)
    parts = [augmented_images(samples, range(100)[start : start + chunk], seed=5) for start in range(0, 100, chunk)]
    assert np.array_equal(np.concatenate(parts), together)
    chosen = [97, 3, 3, 50]
    assert np.array_equal(augmented_images(samples, chosen, seed=5), together[chosen])


@pytest.mark.parametrize("chunk", [1, 3, 8, 33])
def test_even_before_rounding_no_bit_depends_on_the_batch(chunk: int) -> None:
    """Rounding to 256 levels would hide most differences."""
    images = torch.rand(100, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    number = torch.arange(100)
    together = augment._warp(images, 5, number, 1)
    parts = [augment._warp(images[part], 5, number[part], 1) for part in number.split(chunk)]
    assert torch.equal(torch.cat(parts), together)


def test_the_number_of_threads_changes_nothing() -> None:
    images = torch.rand(300, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    number, threads = torch.arange(300), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = augment._warp(images, 5, number, 1)
        torch.set_num_threads(2)
        assert torch.equal(augment._warp(images, 5, number, 1), alone)
    finally:
        torch.set_num_threads(threads)


def test_internal_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = _samples(6)
    together = augmented_images(samples, range(50), seed=1)
    monkeypatch.setattr(augment, "_CHUNK", 7)
    assert np.array_equal(augmented_images(samples, range(50), seed=1), together)


def test_the_seed_decides() -> None:
    samples = _samples(5)
    first = augmented_images(samples, range(20), seed=1)
    assert np.array_equal(augmented_images(samples, range(20), seed=1), first)
    other = augmented_images(samples, range(20), seed=2)
    assert (first != other).reshape(20, -1).any(axis=1).all()


def test_all_images_of_one_sample_differ() -> None:
    made = augmented_images(_samples(1), range(40), seed=0)
    assert len({image.tobytes() for image in made}) == 40


def test_image_i_descends_from_sample_i_mod_n() -> None:
    """Flat samples of eight grey levels: in the even rounds nothing is mixed in, so each keeps its own level."""
    samples = np.broadcast_to(np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1) * 30, (8, 1, 16, 16)).copy()
    for first in (0, 16, 800):
        assert np.array_equal(augmented_images(samples, range(first, first + 8), seed=0), samples)


@pytest.mark.parametrize("count", [2, 3, 9])
def test_the_odd_rounds_mix_in_another_sample(count: int) -> None:
    """Sample 0 is black and the others white: only a mix is grey, and each partner is another sample."""
    samples = np.full((count, 1, 16, 16), 255, dtype=np.uint8)
    samples[0] = 0
    rounds = augmented_images(samples, range(count * 20), seed=0).reshape(20, count, 16, 16)
    assert (rounds[::2, 0] == 0).all()
    assert (rounds[::2, 1:] == 255).all()
    own = rounds[1::2, 0].astype(float) / 255
    assert (own >= 0.25 - 1e-2).all()
    assert (own <= 0.75 + 1e-2).all()
    partners = rounds[1::2, 1:].astype(float) / 255
    grey = partners.mean(axis=(2, 3)) < 0.99
    if count == 2:
        assert grey.all()
    else:
        assert 0 < grey.mean() < 1


def test_a_single_sample_is_mixed_with_its_own_warp() -> None:
    made = augmented_images(_samples(1), [0, 1, 2, 3], seed=0)
    assert made.shape == (4, 1, 16, 16)
    assert len({image.tobytes() for image in made}) == 4


def test_warps_are_small() -> None:
    """At most 15° of rotation, 15 % of scale, 10 % of half a side of shift, and a bend: the blob stays near."""
    sample = np.zeros((1, 1, 32, 32), dtype=np.uint8)
    sample[0, 0, 14:18, 14:18] = 255
    made = augmented_images(sample, range(0, 200, 2), seed=0).astype(float)
    y, x = np.mgrid[0:32, 0:32] - 15.5
    mass = made.sum(axis=(1, 2, 3))
    assert (mass > 0).all()
    for axis in (x, y):
        centre = (made[:, 0] * axis).sum(axis=(1, 2)) / mass
        assert abs(centre).max() < 4
        assert centre.std() > 0.5
    assert 0.5 < mass.mean() / sample.sum() < 1.6


def test_a_flat_image_stays_flat_at_every_level() -> None:
    for level in (0, 1, 127, 254, 255):
        samples = np.full((2, 3, 16, 16), level, dtype=np.uint8)
        assert (augmented_images(samples, range(8), seed=0) == level).all()


def test_nothing_wanted_is_nothing_made() -> None:
    assert augmented_images(_samples(2), [], seed=0).shape == (0, 1, 16, 16)
