"""Random directions: ±1 per cell of pixels, keyed by who asks."""

import functools

import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3 import rng
from db3.rng import Purpose
from db3.teachers.base import ImageShape


def random_signs(
    shape: ImageShape,
    cell: int,
    seed: int,
    step: Int[Tensor, "*n"],
    target: Int[Tensor, "*n"],
    sample: Int[Tensor, "*n"],
) -> Float[Tensor, "*n d"]:
    """Directions of ±1, constant over square cells of `cell` pixels, flattened to D = C·H·W.

    Low-frequency noise by repetition instead of interpolation keeps every component ±1, so that signed sums stay
    integers and exact on every device. Cells at the right and lower edge are cut where `cell` does not divide the size.
    """
    channels, height, width = shape
    rows, columns = -(-height // cell), -(-width // cell)
    coarse = rng.signs(seed, Purpose.DIRECTION, step, target, sample, channels * rows * columns)
    if cell == 1:
        return coarse
    flat = coarse.view(-1, coarse.shape[-1])  # many times faster on a matrix than on the last axis of more
    return flat.index_select(1, _cells(shape, cell, coarse.device)).view(*coarse.shape[:-1], channels * height * width)


@functools.cache
def _cells(shape: ImageShape, cell: int, device: torch.device) -> Int[Tensor, " d"]:
    """The number of each pixel's cell."""
    channels, height, width = shape
    rows, columns = -(-height // cell), -(-width // cell)
    row, column = torch.arange(height) // cell, torch.arange(width) // cell
    first = torch.arange(channels)[:, None, None] * (rows * columns)
    return (first + row[:, None] * columns + column).flatten().to(device)
