"""Augmented images: small warps and pairwise mixes of the samples, each a function of (samples, seed, its number).

The strongest competitor of boundary distances at equal queries: ask the teacher about variations instead. Image i
descends from sample i mod N. Every image is warped (rotation, scale, shift, a smooth displacement); every second one is
mixed with another warped sample. They are rounded to uint8 and asked exactly as rounded.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from db3 import rng

_ROTATION, _SCALE, _SHIFT, _BEND = math.radians(15), 0.15, 0.1, 0.06
_GRID = 4  # the displacement field is drawn on a 4x4 grid and interpolated
_DRAWS = 4 + 2 * _GRID * _GRID


def augmented_images(
    images: UInt8[np.ndarray, "n c h w"], numbers: Sequence[int], seed: int
) -> UInt8[np.ndarray, "m c h w"]:
    """The augmented images of the given numbers (0, 1, 2, …)."""
    number = torch.tensor(numbers, dtype=torch.int64)
    count = len(images)
    parent = number % count
    drawn = rng.uniform(seed, number, torch.zeros_like(number), parent, 2)
    partner = (parent + 1 + (drawn[:, 0] * (count - 1)).long()) % count
    mixed = torch.where((number // count) % 2 == 1, 0.25 + 0.5 * drawn[:, 1], 0.0)[:, None, None, None]
    first = _warp(_pixels(images, parent), seed, number, 1)
    second = _warp(_pixels(images, partner), seed, number, 2)
    return ((1 - mixed) * first + mixed * second).mul(255).round().clamp(0, 255).to(torch.uint8).numpy()


def _pixels(images: UInt8[np.ndarray, "n c h w"], index: Int64[Tensor, " m"]) -> Float[Tensor, "m c h w"]:
    return torch.from_numpy(np.asarray(images[index.numpy()])).float() / 255


def _warp(
    images: Float[Tensor, "m c h w"], seed: int, number: Int64[Tensor, " m"], role: int
) -> Float[Tensor, "m c h w"]:
    """Rotate, scale, shift and bend each image by its own draws; the border repeats."""
    draws = rng.uniform(seed, number, torch.full_like(number, role), torch.zeros_like(number), _DRAWS) * 2 - 1
    angle, scale = draws[:, 0] * _ROTATION, 1 + draws[:, 1] * _SCALE
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    affine = torch.stack(
        [torch.stack([cosine, -sine, draws[:, 2] * _SHIFT], 1), torch.stack([sine, cosine, draws[:, 3] * _SHIFT], 1)], 1
    )
    size = list(images.shape)
    grid = torch.nn.functional.affine_grid(affine, size, align_corners=False)
    field = draws[:, 4:].view(-1, 2, _GRID, _GRID) * _BEND
    bend = torch.nn.functional.interpolate(field, size=size[2:], mode="bicubic", align_corners=True)
    return torch.nn.functional.grid_sample(
        images, grid + bend.permute(0, 2, 3, 1), mode="bilinear", padding_mode="border", align_corners=False
    )
