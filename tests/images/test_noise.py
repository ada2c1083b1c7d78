"""Noise: uniform, and each image a function of seed and number."""

import numpy as np
import pytest

from db3.images.noise import noise_images


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 3, 3)])
def test_an_image_does_not_depend_on_what_is_made_beside_it(shape: tuple[int, int, int]) -> None:
    together = noise_images(shape, range(20), seed=3)
    assert together.shape == (20, *shape)
    assert together.dtype == np.uint8
    for chosen in ([7], [19, 0, 7], []):
        assert np.array_equal(noise_images(shape, chosen, seed=3), together[chosen])


def test_all_levels_are_equally_likely() -> None:
    counts = np.bincount(noise_images((1, 64, 64), range(100), seed=0).ravel(), minlength=256)
    expected = counts.sum() / 256
    assert ((counts - expected) ** 2 / expected).sum() < 340  # chi², 255 degrees of freedom: 1 in 5,000


def test_seeds_and_numbers_differ_and_pixels_are_not_related() -> None:
    images = np.concatenate([noise_images((1, 8, 8), range(50), seed) for seed in (0, 1)]).reshape(100, -1)
    assert len({image.tobytes() for image in images}) == 100
    related = np.corrcoef(images.astype(float))[~np.eye(100, dtype=bool)]
    assert np.abs(related).max() < 0.6
