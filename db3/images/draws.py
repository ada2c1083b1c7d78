"""Draws for made images: each a function of (seed, purpose, the image's number, which part of it)."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from db3 import rng
from db3.rng import Purpose

Part = tuple[int, int]
"""Which of several draws of one purpose: (which of the image's alike parts, which step of its making)."""

_ONLY: Part = (0, 0)


def draw(
    seed: int, purpose: Purpose, number: Int64[Tensor, " m"], count: int, part: Part = _ONLY
) -> Float[Tensor, "m count"]:
    """Uniform numbers in 0 … 1.

    Args:
        seed: of the images.
        purpose: what the numbers are for.
        number: of each image, 0 … 2³² − 1.
        count: numbers an image.
        part: of the image.
    """
    return rng.uniform(seed, purpose, number, *_words(number, part), count)


def draw_octets(
    seed: int, purpose: Purpose, number: Int64[Tensor, " m"], count: int, part: Part = _ONLY
) -> torch.Tensor:
    """Uniform whole numbers in 0 … 255 (uint8), four of a random word in the order of their weight."""
    words = rng.words(seed, purpose, number, *_words(number, part), (count + 3) // 4)
    return words.to(torch.int32).view(torch.uint8)[:, :count]


def _words(number: Int64[Tensor, " m"], part: Part) -> tuple[Int64[Tensor, " m"], Int64[Tensor, " m"]]:
    which, step = part
    return torch.full_like(number, which), torch.full_like(number, step)
