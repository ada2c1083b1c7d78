"""Augmentations: each image's change is a function of (seed, step, example), and its target is kept.

A teacher's decision on the changed image may be another: where a student can afford to ask, augmented images enter its
transfer set as samples of their own, each decided by the teacher.
"""

import functools
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
from db3.settings.training import CropSettings

Indices = npt.NDArray[np.int64]
Augment = Callable[[Tensor, int, Indices, Indices], Tensor]
"""(images [n, C, H, W] in [0, 1], step, example indices [n], how often each was seen before [n]) → images of the same
shape and bounds."""

_HALF_TANGENT, _ZOOM, _SHIFT = 0.0875, 0.1, 0.07  # of `warp`: ±10°, 0.9 … 1.1, ±2 pixels of 28
_MARGIN = 8  # of `crop_flip`: an eighth of the side, 4 pixels of 32


def augmentation(name: str, seed: int, crop: CropSettings | None = None) -> Augment | None:
    """The augmentation of that name: `none`, `warp` (small affine maps) or `crop_flip` (shifts and mirroring).

    Args:
        name: of the augmentation.
        seed: of what is drawn.
        crop: how far, what enters at the border and which images are mirrored; None: the defaults. Of crop_flip alone.

    Raises:
        ConfigError: an unknown name.
    """
    if name == "none":
        return None
    crop = crop or CropSettings()
    cropped = functools.partial(crop_flip, margin=crop.pixels, reflect=crop.padding == "reflection")
    known = {"warp": _Keyed(warp, seed), "crop_flip": _Keyed(cropped, seed, crop.flip == "alternating")}
    if name not in known:
        raise unknown_name("augmentation", name, ("none", *known))
    return known[name]


@dataclass(frozen=True)
class _Keyed:
    """A change with its seed.

    Attributes:
        apply: (images, drawn numbers) → images.
        seed: of the numbers.
        alternating: whether the third number, which decides on the mirror image, takes turns: the first is drawn for
            each example, and the others follow (Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024).
    """

    apply: Callable[[Tensor, Tensor], Tensor]
    seed: int
    alternating: bool = False

    def __call__(self, images: Tensor, step: int, examples: Indices, seen: Indices) -> Tensor:
        sample = torch.from_numpy(examples)
        steps, zero = torch.full_like(sample, step), torch.zeros_like(sample)
        drawn = uniform(self.seed, Purpose.AUGMENTATION, steps, zero, sample, 4)
        if self.alternating:
            first = uniform(self.seed, Purpose.AUGMENTATION, zero, zero + 1, sample, 1)[:, 0] < 0.5
            drawn[:, 2] = (torch.from_numpy(seen) % 2 == 1).logical_xor(first) * 0.5
        return self.apply(images, drawn.to(images.device))


def warp(images: Float[Tensor, "n c h w"], drawn: Float[Tensor, "n 4"]) -> Float[Tensor, "n c h w"]:
    """Rotate by ±10°, zoom by 0.9 … 1.1 and shift by ±7 % of the side; what enters repeats the border.

    The tangent of half the angle is what is drawn evenly: sine and cosine follow from it with the same bits everywhere.
    """
    turn, zoom, across, down = (drawn * 2 - 1).unbind(dim=1)
    shift = torch.stack([across, down], dim=1) * (2 * _SHIFT)  # in half sides
    still = images.new_zeros(len(images), 2, 2, 2)
    return fields.warp(images.contiguous(), turn * _HALF_TANGENT, 1 / (1 + zoom * _ZOOM), shift, still).clamp_(0, 1)


def crop_flip(
    images: Float[Tensor, "n c h w"], drawn: Float[Tensor, "n 4"], margin: int | None = None, reflect: bool = False
) -> Float[Tensor, "n c h w"]:
    """Shift in both directions and mirror some of the images left to right.

    Args:
        images: in [0, 1].
        drawn: in [0, 1): shift down and to the right, whether mirrored (from 0.5 on), unused.
        margin: pixels of a shift at most, fewer than a side has; None: an eighth of the side.
        reflect: whether the image's own border enters, mirrored; else zeros.
    """
    height, width = images.shape[2:]
    down, across = (side // _MARGIN if margin is None else margin for side in (height, width))
    top, left = _offsets(drawn[:, 0], down), _offsets(drawn[:, 1], across)
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    columns = torch.where(drawn[:, 2:3] < 0.5, columns, columns.flip(1))
    padded = F.pad(images, (across, across, down, down), "reflect" if reflect else "constant")
    image = torch.arange(len(images), device=images.device)[:, None, None, None]
    channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _offsets(drawn: Float[Tensor, " n"], margin: int) -> Int64[Tensor, " n"]:
    """Integers in 0 … 2 · margin, uniform."""
    return (drawn * (2 * margin + 1)).to(torch.int64)
