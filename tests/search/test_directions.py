"""Random directions: ±1, constant over cells, keyed by who asks."""

import pytest
import torch
from torch import Tensor

from db3 import rng
from db3.rng import Purpose
from db3.search.directions import random_signs


def _signs(shape: tuple[int, int, int], cell: int, count: int = 3, seed: int = 7) -> Tensor:
    step = torch.arange(count)
    return random_signs(shape, cell, seed, step, torch.full_like(step, 2), torch.full_like(step, 5))


def test_a_cell_of_one_pixel_is_the_bare_generator() -> None:
    step = torch.arange(3)
    expected = rng.signs(7, Purpose.DIRECTION, step, torch.full_like(step, 2), torch.full_like(step, 5), 3 * 5 * 4)
    assert torch.equal(_signs((3, 5, 4), 1), expected)


@pytest.mark.parametrize(("shape", "cell"), [((1, 8, 8), 2), ((3, 8, 8), 4), ((2, 7, 5), 2), ((1, 5, 9), 4)])
def test_directions_are_constant_over_cells_cut_at_the_edge(shape: tuple[int, int, int], cell: int) -> None:
    _, height, width = shape
    signs = _signs(shape, cell).view(-1, *shape)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    for row in range(height):
        for column in range(width):
            corner = signs[:, :, row // cell * cell, column // cell * cell]
            assert torch.equal(signs[:, :, row, column], corner)


def test_neighbouring_cells_and_channels_differ() -> None:
    signs = _signs((2, 64, 64), 8).view(3, 2, 64, 64)[:, :, ::8, ::8].flatten(1)
    assert abs(float(signs.mean())) < 0.15
    assert not torch.equal(signs[:, :64], signs[:, 64:])


def test_a_cell_larger_than_the_image_leaves_one_sign_a_channel() -> None:
    assert len(_signs((1, 6, 6), 10, count=1).unique()) == 1
