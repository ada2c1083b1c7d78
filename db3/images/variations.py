"""Variations: new images from decided ones, each a function of (its parents, seed, its number).

A child is a small warp of its parent, and often mixed with a warp of a second parent: cut in along a smooth mask
(Yun et al., "CutMix", ICCV 2019, with soft borders), blended (Zhang et al., "mixup", ICLR 2018), or the brighter
pixel of the two. No label is mixed: the teacher is asked.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from db3.arithmetic.fields import interpolate, warp
from db3.arithmetic.functions import sqrt
from db3.images.draws import draw
from db3.progress import Progress
from db3.rng import Purpose

KINDS = ("warped", "cut", "blended", "brighter")

_CHUNK = 512
_KNOTS, _DRAWS = 4, 4 + 2 * 4 * 4
_CELLS = (2, 3, 5)  # knots a side of a mask


@dataclass(frozen=True)
class Strength:
    """How far a child may be from its parents.

    Attributes:
        turn: tangent of half the largest angle.
        scale: largest change of size, each way.
        shift, bend: largest displacements, in half sides.
        cut, blend, brighter: shares of the children mixed in that way; the rest are warped alone.
    """

    turn: float = 0.13
    scale: float = 0.15
    shift: float = 0.1
    bend: float = 0.08
    cut: float = 0.35
    blend: float = 0.25
    brighter: float = 0.15


def variations(
    images: UInt8[np.ndarray, "n c h w"],
    parents: Int64[np.ndarray, "m 2"],
    numbers: Int64[np.ndarray, " m"],
    seed: int,
    strength: Strength = Strength(),
) -> UInt8[np.ndarray, "m c h w"]:
    """The children of these numbers.

    Args:
        images: those that may be parents.
        parents: places of the first and the second parent of each child.
        numbers: 0 … 2³² − 1; they and the seed decide what happens to the parents.
        seed: of the draws.
        strength: how far children go.
    """
    chunks = [slice(start, start + _CHUNK) for start in range(0, len(numbers), _CHUNK)]
    with Progress("making variations", len(numbers), "img", inner=True) as progress:
        parts = []
        for rows in chunks:
            parts.append(_children(images, parents[rows], numbers[rows], seed, strength))
            progress.advance(len(parts[-1]))
    return np.concatenate(parts) if parts else images[:0]


def variation_kinds(
    numbers: Int64[np.ndarray, " m"],
    seed: int,
    strength: Strength = Strength(),
) -> Int64[np.ndarray, " m"]:
    """What is done to each, a place in `KINDS`."""
    drawn = draw(seed, Purpose.VARIATION_KIND, torch.from_numpy(numbers), 2)[:, 0]
    kinds: Int64[np.ndarray, " m"] = _kinds(drawn, strength).numpy()
    return kinds


def _kinds(drawn: Float[Tensor, " m"], strength: Strength) -> Int64[Tensor, " m"]:
    cut, blend = strength.cut, strength.cut + strength.blend
    kind = torch.where(drawn < cut, 1, torch.where(drawn < blend, 2, 3))
    return torch.where(drawn < blend + strength.brighter, kind, 0)


def _children(
    images: UInt8[np.ndarray, "n c h w"],
    parents: Int64[np.ndarray, "m 2"],
    numbers: Int64[np.ndarray, " m"],
    seed: int,
    strength: Strength,
) -> UInt8[np.ndarray, "m c h w"]:
    number = torch.from_numpy(numbers)
    drawn = draw(seed, Purpose.VARIATION_KIND, number, 2)
    kind = _kinds(drawn[:, 0], strength)
    made = _moved(_pixels(images, parents[:, 0]), seed, number, 0, strength)
    mixed = (kind > 0).nonzero()[:, 0]
    if len(mixed):
        other = _moved(_pixels(images, parents[mixed.numpy(), 1]), seed, number[mixed], 1, strength)
        made[mixed] = _mix(made[mixed], other, kind[mixed], drawn[mixed, 1], seed, number[mixed])
    return made.mul_(255).round_().clamp_(0, 255).to(torch.uint8).numpy()


def _mix(
    first: Float[Tensor, "m c h w"],
    second: Float[Tensor, "m c h w"],
    kind: Int64[Tensor, " m"],
    share: Float[Tensor, " m"],
    seed: int,
    number: Int64[Tensor, " m"],
) -> Float[Tensor, "m c h w"]:
    weight = (0.25 + 0.5 * share)[:, None, None, None].expand(-1, 1, *first.shape[2:])
    cut = (kind == 1)[:, None, None, None]
    weight = torch.where(cut, _mask(first.shape[2], first.shape[3], seed, number), weight)
    blended = weight * first + (1 - weight) * second
    return torch.where((kind == 3)[:, None, None, None], torch.maximum(first, second), blended)


def _mask(height: int, width: int, seed: int, number: Int64[Tensor, " m"]) -> Float[Tensor, "m 1 h w"]:
    """0 … 1 on either side of a contour of smooth noise, of random coarseness, place and sharpness."""
    drawn = draw(seed, Purpose.VARIATION_MASK, number, 3 + max(_CELLS) ** 2)
    field = torch.zeros(len(number), 1, height, width)
    size = (drawn[:, 0] * len(_CELLS)).long()
    for place, cells in enumerate(_CELLS):
        rows = (size == place).nonzero()[:, 0]
        knots = drawn[rows, 3 : 3 + cells * cells].view(-1, 1, cells, cells) * 2 - 1
        field[rows] = interpolate(knots, height, width, whole=True)
    sharp, level = 4 + 28 * drawn[:, 1], 0.5 * drawn[:, 2] - 0.25
    x = sharp[:, None, None, None] * (field - level[:, None, None, None])
    return 0.5 + 0.5 * x / sqrt(1 + x * x)


def _moved(
    images: Float[Tensor, "m c h w"], seed: int, number: Int64[Tensor, " m"], which: int, strength: Strength
) -> Float[Tensor, "m c h w"]:
    drawn = draw(seed, Purpose.VARIATION_WARP, number, _DRAWS, (which, 0)) * 2 - 1
    tangent, scale = drawn[:, 0] * strength.turn, 1 + strength.scale * drawn[:, 1]
    knots = drawn[:, 4:].reshape(-1, 2, _KNOTS, _KNOTS) * strength.bend
    return warp(images, tangent, scale, drawn[:, 2:4] * strength.shift, knots)


def _pixels(images: UInt8[np.ndarray, "n c h w"], index: Int64[np.ndarray, " m"]) -> Float[Tensor, "m c h w"]:
    return torch.from_numpy(np.asarray(images[index])).float() / 255
