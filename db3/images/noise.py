"""Noise images: every pixel uniform over 0 … 255, each image a function of (seed, its number)."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8

from db3 import rng
from db3.teachers.base import ImageShape

_STREAM = 2 << 32  # keys apart from those of directions: seeds below 2³² have their own upper word


def noise_images(shape: ImageShape, numbers: Sequence[int], seed: int) -> UInt8[np.ndarray, "m c h w"]:
    """The noise images of the given numbers (0, 1, 2, …).

    Args:
        shape: (C, H, W).
        numbers: which images.
        seed: 0 … 2³² − 1.
    """
    pixels = int(np.prod(shape))
    number = torch.tensor(numbers, dtype=torch.int64)
    zero = torch.zeros_like(number)
    drawn = rng.words(seed + _STREAM, number, zero, zero, (pixels + 3) // 4)
    octets = drawn.to(torch.int32).view(torch.uint8)[:, :pixels]  # a word's bytes in the order of their weight
    images: UInt8[np.ndarray, "m c h w"] = octets.reshape(-1, *shape).numpy()
    return images
