"""Pixels on the disk and pixels that a model sees: uint8 0 … 255, and float32 within the bounds.

Divided by 255, never multiplied by its reciprocal: a pixel has one float32, whoever computes it.
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def to_floats(
    images: UInt8[np.ndarray, "..."] | UInt8[Tensor, "..."], bounds: tuple[float, float] = (0.0, 1.0)
) -> Float[Tensor, "..."]:
    """Stored images as a teacher sees them; on [0, 1]: `uint8 / 255`. Of an array a copy, on the CPU."""
    low, high = bounds
    levels = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))
    return levels.float() / 255 * (high - low) + low  # divided first: on [0, 1] the rest changes no bit


def to_bytes(images: Float[Tensor, "..."], bounds: tuple[float, float] = (0.0, 1.0)) -> UInt8[Tensor, "..."]:
    """Images as they are stored: the nearest of 256 levels, 0 … 255; beyond the bounds the nearer end."""
    low, high = bounds
    return ((images - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)
