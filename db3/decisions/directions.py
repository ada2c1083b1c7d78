"""Random directions: ±1 per cell of pixels, keyed by who asks."""

from jaxtyping import Float, Int
from torch import Tensor

from db3 import rng
from db3.teachers.base import ImageShape


def random_signs(
    shape: ImageShape,
    cell: int,
    seed: int,
    step: Int[Tensor, "*n"],
    klass: Int[Tensor, "*n"],
    sample: Int[Tensor, "*n"],
) -> Float[Tensor, "*n d"]:
    """Directions of ±1, constant over square cells of `cell` pixels, flattened to D = C·H·W.

    Low-frequency noise by repetition instead of interpolation keeps every component ±1, so that signed sums stay
    integers and exact on every device. Cells at the right and lower edge are cut where `cell` does not divide the size.
    """
    channels, height, width = shape
    rows, columns = -(-height // cell), -(-width // cell)
    coarse = rng.signs(seed, step, klass, sample, channels * rows * columns)
    if cell == 1:
        return coarse
    grid = coarse.view(*coarse.shape[:-1], channels, rows, columns)
    fine = grid.repeat_interleave(cell, dim=-2).repeat_interleave(cell, dim=-1)
    return fine[..., :height, :width].flatten(-3)
