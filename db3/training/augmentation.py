"""Augmentations for training the local teacher: each image's change is a function of (seed, step, example).

The student never needs them: augmented images enter its transfer set as samples of their own, each decided by the
teacher.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int64
from torch import Tensor

from db3.arithmetic import fields
from db3.errors import unknown_name
from db3.rng import Purpose, uniform

Augment = Callable[[Tensor, int, npt.NDArray[np.int64]], Tensor]
"""(images [n, C, H, W] in [0, 1], step, example indices [n]) → images of the same shape and bounds."""

_HALF_TANGENT, _ZOOM, _SHIFT = 0.0875, 0.1, 0.07  # of `warp`: ±10°, 0.9 … 1.1, ±2 pixels of 28
_MARGIN = 8  # of `crop_flip`: an eighth of the side, 4 pixels of 32


def augmentation(name: str, seed: int) -> Augment | None:
    """The augmentation of that name: `none`, `warp` (small affine maps) or `crop_flip` (shifts and mirroring).

    Raises:
        ConfigError: an unknown name.
    """
    if name == "none":
        return None
    known = {"warp": warp, "crop_flip": crop_flip}
    if name not in known:
        raise unknown_name("augmentation", name, ("none", *known))
    return _Keyed(known[name], seed)


@dataclass(frozen=True)
class _Keyed:
    """A change with its seed: unlike a function inside a function, it can be sent to another process."""

    apply: Callable[[Tensor, Tensor], Tensor]
    seed: int

    def __call__(self, images: Tensor, step: int, examples: npt.NDArray[np.int64]) -> Tensor:
        sample = torch.from_numpy(examples)
        steps, zero = torch.full_like(sample, step), torch.zeros_like(sample)
        drawn = uniform(self.seed, Purpose.AUGMENTATION, steps, zero, sample, 4)
        return self.apply(images, drawn.to(images.device))


def warp(images: Float[Tensor, "n c h w"], drawn: Float[Tensor, "n 4"]) -> Float[Tensor, "n c h w"]:
    """Rotate by ±10°, zoom by 0.9 … 1.1 and shift by ±7 % of the side; what enters repeats the border.

    The tangent of half the angle is what is drawn evenly: sine and cosine follow from it with the same bits everywhere.
    """
    turn, zoom, across, down = (drawn * 2 - 1).unbind(dim=1)
    shift = torch.stack([across, down], dim=1) * (2 * _SHIFT)  # in half sides
    still = images.new_zeros(len(images), 2, 2, 2)
    return fields.warp(images.contiguous(), turn * _HALF_TANGENT, 1 / (1 + zoom * _ZOOM), shift, still).clamp_(0, 1)


def crop_flip(images: Float[Tensor, "n c h w"], drawn: Float[Tensor, "n 4"]) -> Float[Tensor, "n c h w"]:
    """Shift by up to an eighth of the side, zeros entering, and mirror half of the images left to right."""
    height, width = images.shape[2:]
    top, left = (_offsets(drawn[:, axis], side) for axis, side in ((0, height), (1, width)))
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    columns = torch.where(drawn[:, 2:3] < 0.5, columns, columns.flip(1))
    padded = F.pad(images, (width // _MARGIN,) * 2 + (height // _MARGIN,) * 2)
    image = torch.arange(len(images), device=images.device)[:, None, None, None]
    channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _offsets(drawn: Float[Tensor, " n"], side: int) -> Int64[Tensor, " n"]:
    """Integers in 0 … 2 · margin, uniform."""
    return (drawn * (2 * (side // _MARGIN) + 1)).to(torch.int64)
