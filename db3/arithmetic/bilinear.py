"""Bilinear look-up with the same bits on every machine.

A library's kernel may multiply and add in one rounding or in two, as the processor allows, and the image made there
differs from the one made here. Here every operation is a kernel of its own, rounded as IEEE 754 says, for two to three
times the time of `grid_sample` on a CPU.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from db3.arithmetic.functions import divide

Padding = Literal["border", "reflection"]


def bilinear(
    images: Float[Tensor, "m c h w"], x: Float[Tensor, "m a b"], y: Float[Tensor, "m a b"], padding: Padding
) -> Float[Tensor, "m c a b"]:
    """What the images show at these places, between pixel centres in proportion to the distances.

    Args:
        images: to be looked at.
        x: places across, in half sides from the middle, as `fields.centres` counts.
        y: likewise, down.
        padding: what lies beyond: `border` repeats the outermost pixels, `reflection` mirrors the image at its edge.
    """
    count, channels, height, width = images.shape
    left, right, across = (part.flatten(1)[:, None] for part in _between(x, width, padding))
    above, below, down = (part.flatten(1)[:, None] for part in _between(y, height, padding))
    pixels = images.reshape(count, channels, height * width)
    upper = _mixed(pixels, above * width + left, above * width + right, across)
    lower = _mixed(pixels, below * width + left, below * width + right, across)
    return (upper * (1 - down) + lower * down).view(count, channels, *x.shape[1:])


def _mixed(
    pixels: Float[Tensor, "m c p"],
    first: Int64[Tensor, "m 1 n"],
    second: Int64[Tensor, "m 1 n"],
    part: Float[Tensor, "m 1 n"],
) -> Float[Tensor, "m c n"]:
    at = [pixels.gather(2, index.expand(-1, pixels.shape[1], -1)) for index in (first, second)]
    return at[0] * (1 - part) + at[1] * part


def _between(
    place: Float[Tensor, "m a b"], size: int, padding: Padding
) -> tuple[Int64[Tensor, "m a b"], Int64[Tensor, "m a b"], Float[Tensor, "m a b"]]:
    """The two pixels around each place along one side, and how far it is from the first towards the second."""
    pixel = ((place + 1) * size - 1) / 2  # the middle of pixel p is p
    if padding == "reflection":
        away = (pixel + 0.5).abs()
        turns = divide(away, size).floor()
        rest = away - turns * size
        pixel = torch.where(turns.long() % 2 == 0, rest, size - rest) - 0.5
    pixel = pixel.clamp(0, size - 1)
    first = pixel.floor()
    index = first.long()
    return index, (index + 1).clamp(max=size - 1), pixel - first
