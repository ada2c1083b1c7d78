import numpy as np
import pytest
import torch

from db3.images.priors import families, prior_families, prior_images, window
from db3.images.smooth import sigmoid, smooth, standardised
from db3.rng import Purpose

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 8, 12), (3, 9, 16), (4, 6, 6)]


@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_has_the_same_bits_in_any_batch(shape: tuple[int, int, int]) -> None:
    together = prior_images(shape, range(700), 5)
    assert together.dtype == np.uint8
    assert together.shape == (700, *shape)
    for chunk in (1, 7):
        parts = [prior_images(shape, range(start, start + chunk), 5) for start in range(0, 21, chunk)]
        assert np.array_equal(np.concatenate(parts), together[:21])
    chosen = [600, 3, 511, 512, 44]
    assert np.array_equal(prior_images(shape, chosen, 5), together[chosen])


def test_bits_do_not_depend_on_threads() -> None:
    before = torch.get_num_threads()
    together = prior_images((3, 32, 32), range(60), 1)
    try:
        torch.set_num_threads(2)
        assert np.array_equal(prior_images((3, 32, 32), range(60), 1), together)
    finally:
        torch.set_num_threads(before)


def test_seeds_and_numbers_give_other_images() -> None:
    first = prior_images((1, 28, 28), range(50), 0)
    assert (first != prior_images((1, 28, 28), range(50), 1)).any(axis=(1, 2, 3)).all()
    assert len(np.unique(first.reshape(50, -1), axis=0)) == 50
    assert prior_images((1, 28, 28), [2**32 - 1], 2**63).shape == (1, 1, 28, 28)
    assert prior_images((1, 28, 28), [], 0).shape == (0, 1, 28, 28)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_all_families_occur_alike(shape: tuple[int, int, int]) -> None:
    kinds = len(families(shape[0]))
    counts = np.bincount(prior_families(shape, range(4000), 3), minlength=kinds)
    assert (abs(counts - 4000 / kinds) < 120).all()


def test_windows_darken_the_border_and_leave_something_within() -> None:
    numbers = range(800)
    images, kinds = prior_images((1, 28, 28), numbers, 0), prior_families((1, 28, 28), numbers, 0)
    rim = np.concatenate([images[:, 0, 0], images[:, 0, -1]], axis=1).mean(axis=1)
    windowed = kinds % 2 == 1
    assert rim[windowed].mean() < 0.3 * rim[~windowed].mean()
    assert (images[windowed].max(axis=(1, 2, 3)) > 40).mean() > 0.9


def test_contrast_is_high_and_neighbours_are_alike() -> None:
    """What noise lacks: extreme values in plenty, and correlation between neighbouring pixels."""
    images = prior_images((1, 28, 28), range(500), 0).astype(float) / 255
    assert images.std(axis=(1, 2, 3)).mean() > 0.2
    left, right = images[..., :-1], images[..., 1:]
    correlation = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(left, right, strict=True) if a.std() > 0]
    assert np.nanmedian(correlation) > 0.6


def test_colours_go_together_more_than_in_noise() -> None:
    images = prior_images((3, 32, 32), range(300), 0).astype(float)
    between = [np.corrcoef(i[0].ravel(), i[1].ravel())[0, 1] for i in images if i.std(axis=(1, 2)).min() > 0]
    assert np.median(between) > 0.3
    assert np.min(between) < 0.2


def test_standardised_images() -> None:
    field = smooth((1, 28, 28), torch.arange(20), 0, Purpose.PRIOR_FIELD)
    flat = standardised(field).double().flatten(1)
    assert torch.allclose(flat.mean(1), torch.zeros(20, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(flat.std(1, correction=0), torch.ones(20, dtype=torch.float64), atol=1e-5)
    assert torch.equal(standardised(torch.full((1, 1, 4, 4), 0.7)), torch.zeros(1, 1, 4, 4))


def test_sigmoid_rises_from_0_to_1_with_the_logistic_slope() -> None:
    x = torch.linspace(-50, 50, 1001)
    y = sigmoid(x)
    assert (y.diff() >= 0).all()
    assert y[0] < 0.01
    assert y[-1] > 0.99
    small = torch.tensor([1e-3])
    assert torch.allclose(sigmoid(small) - 0.5, small / 4, rtol=1e-3)


def test_a_window_is_light_in_its_centre_and_dark_in_the_corners() -> None:
    drawn = torch.rand(200, 6, generator=torch.Generator().manual_seed(0))
    masks = window((1, 28, 28), drawn)
    assert masks.shape == (200, 1, 28, 28)
    assert (masks[:, 0, 12:16, 12:16].amax(dim=(1, 2)) > 0.5).all()
    assert masks[:, 0, 0, 0].mean() < 0.1
