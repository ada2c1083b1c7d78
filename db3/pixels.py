"""Pixels on the disk and pixels that a model sees: uint8 0 … 255, and float32 within the bounds.

Divided by 255, never multiplied by its reciprocal: a pixel has one float32, whoever computes it.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from db3.errors import DataError


def check_stored(images: Any) -> None:
    """Refuse whatever is not stored pixels: floats in [0, 1], divided by 255 as these are, would all be black.

    Raises:
        DataError: names the type found, and how to convert it.
    """
    if not isinstance(images, np.ndarray | Tensor):
        raise DataError(
            f"images are a {type(images).__name__}; expected an array of uint8 pixels 0 … 255, [n, C, H, W]: stack them"
        )
    if str(images.dtype).removeprefix("torch.") != "uint8":
        raise DataError(
            f"images are {images.dtype}; expected uint8 pixels 0 … 255: convert pixels in [0, 1] by "
            "(images * 255).round().astype('uint8')"
        )


def stored_array(images: Any) -> UInt8[np.ndarray, "..."]:
    """Stored pixels as an array: one as it is (it may be memory-mapped), a tensor's own.

    Raises:
        DataError: see `check_stored`.
    """
    check_stored(images)
    array: UInt8[np.ndarray, "..."] = images.cpu().numpy() if isinstance(images, Tensor) else images
    return array


def to_floats(
    images: UInt8[np.ndarray, "..."] | UInt8[Tensor, "..."], bounds: tuple[float, float] = (0.0, 1.0)
) -> Float[Tensor, "..."]:
    """Stored images as a teacher sees them; on [0, 1]: `uint8 / 255`. Of an array a copy, on the CPU.

    Raises:
        DataError: they are of another type than uint8.
    """
    check_stored(images)
    low, high = bounds
    levels = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))
    # Divided first: on [0, 1] the rest changes no bit. By a tensor: CUDA multiplies with a number's reciprocal.
    return levels.float() / torch.full((), 255.0, device=levels.device) * (high - low) + low


def to_bytes(images: Float[Tensor, "..."], bounds: tuple[float, float] = (0.0, 1.0)) -> UInt8[Tensor, "..."]:
    """Images as they are stored: the nearest of 256 levels, 0 … 255; beyond the bounds the nearer end."""
    low, high = bounds
    return ((images - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)
