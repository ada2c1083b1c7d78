"""Noise images: every pixel uniform over 0 … 255, each image a function of (seed, its number)."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8

from db3.images.draws import draw_octets
from db3.rng import Purpose
from db3.teachers.base import ImageShape


def noise_images(shape: ImageShape, numbers: Sequence[int], seed: int) -> UInt8[np.ndarray, "m c h w"]:
    """The noise images of the given numbers (0, 1, 2, …).

    Args:
        shape: (C, H, W).
        numbers: which images.
        seed: 0 … 2⁶⁴ − 1.
    """
    pixels = int(np.prod(shape))
    number = torch.tensor(numbers, dtype=torch.int64)
    octets = draw_octets(seed, Purpose.NOISE_IMAGE, number, pixels)
    images: UInt8[np.ndarray, "m c h w"] = octets.reshape(-1, *shape).numpy()
    return images
