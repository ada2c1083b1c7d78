import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from db3.arithmetic.fields import centres, interpolate, warp


def test_centres_of_pixels() -> None:
    assert torch.allclose(centres(4), torch.tensor([-0.75, -0.25, 0.25, 0.75]))


@pytest.mark.parametrize(("count", "height", "width"), [(2, 9, 7), (4, 28, 28), (6, 5, 32)])
def test_a_field_is_the_tensor_product_of_cubic_b_splines(count: int, height: int, width: int) -> None:
    knots = torch.rand(3, 2, count, count, generator=torch.Generator().manual_seed(0))

    def weights(size: int) -> np.ndarray:
        place = (centres(size).double().numpy() + 1) / 2 * (count - 1)
        bump = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
        return np.nan_to_num(bump(place[None] - np.arange(count)[:, None]))

    expected = np.einsum("mcij,iy,jx->mcyx", knots.double().numpy(), weights(height), weights(width))
    assert np.allclose(interpolate(knots, height, width), expected, atol=1e-6)


def test_whole_fields_keep_a_constant() -> None:
    field = interpolate(torch.full((1, 1, 5, 5), 0.3), 28, 20, whole=True)
    assert torch.allclose(field, torch.tensor(0.3), atol=1e-6)
    assert interpolate(torch.full((1, 1, 5, 5), 0.3), 28, 20)[0, 0, 0, 0] < 0.29


def test_a_warp_by_nothing_changes_nothing() -> None:
    images = torch.rand(2, 3, 10, 12, generator=torch.Generator().manual_seed(0))
    still = warp(images, torch.zeros(2), torch.ones(2), torch.zeros(2, 2), torch.zeros(2, 2, 4, 4))
    assert torch.allclose(still, images, atol=1e-5)


def test_a_warp_looks_where_it_is_told() -> None:
    images = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    moved = warp(images, torch.zeros(1), torch.ones(1), torch.tensor([[0.25, 0.0]]), torch.zeros(1, 2, 4, 4))
    assert torch.allclose(moved[..., :14], images[..., 2:], atol=1e-5)
    turned = warp(images, torch.ones(1), torch.ones(1), torch.zeros(1, 2), torch.zeros(1, 2, 4, 4))
    assert torch.allclose(turned, torch.rot90(images, 1, (2, 3)), atol=1e-5) or torch.allclose(
        turned, torch.rot90(images, -1, (2, 3)), atol=1e-5
    )


def test_beyond_the_border_is_repeated_or_mirrored() -> None:
    images = torch.arange(16.0).view(1, 1, 1, 16).expand(1, 1, 16, 16)
    arguments = torch.zeros(1), torch.ones(1), torch.tensor([[0.5, 0.0]]), torch.zeros(1, 2, 4, 4)
    assert torch.allclose(warp(images, *arguments)[0, 0, 0, -4:], torch.full((4,), 15.0))
    mirrored = warp(images, *arguments, padding="reflection")[0, 0, 0, -4:]
    assert torch.allclose(mirrored, torch.tensor([15.0, 14, 13, 12]), atol=1e-4)
