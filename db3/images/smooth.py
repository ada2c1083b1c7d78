"""Smooth noise of several scales, and the functions that priors are made with: the same bits everywhere."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from db3.arithmetic.fields import interpolate, warp
from db3.arithmetic.functions import sqrt
from db3.arithmetic.sums import row_sum
from db3.images.draws import draw, draw_octets
from db3.rng import Purpose
from db3.teachers.base import ImageShape

_TURN, _MINIMUM, _MAXIMUM = 0.4142, 0.6, 1.2  # tangent of half the largest angle (45°), scales
_SHIFT, _BEND, _KNOTS = 0.3, 0.3, 5  # in half sides
_NOISE, _WEIGHTS, _WARP = range(3)  # steps that draw


def smooth(
    shape: ImageShape, number: Int64[Tensor, " m"], seed: int, purpose: Purpose, which: int = 0
) -> Float[Tensor, "m c h w"]:
    """Noise of several scales, weighted at random for each image, turned, scaled, shifted and bent.

    Args:
        shape: (C, H, W).
        number: of each image.
        seed: of the images.
        purpose: what the noise is for.
        which: of several fields of that purpose.
    """
    channels, height, width = shape
    sides = [s for s in (2, 3, 4, 6, 8) if s < min(height, width)]
    sides = [*sides, max(2, min(height, width) // 2), 0]  # 0: every pixel its own
    counts = [channels * (s * s or height * width) for s in sides]
    noise = draw_octets(seed, purpose, number, sum(counts), (which, _NOISE)).float() / 127.5 - 1
    drawn = draw(seed, purpose, number, 2 * len(sides) + 1, (which, _WEIGHTS))
    weights = spread(drawn[:, : len(sides)], 0.95)
    weights = weights / row_sum(weights)[:, None]
    shared = drawn[:, 2 * len(sides)][:, None, None, None]
    field = torch.zeros(())
    for place, (side, values) in enumerate(zip(sides, torch.split(noise, counts, dim=1), strict=True)):
        knots = values.reshape(len(number), channels, side or height, side or width)
        if channels > 1:  # channels go together by as much as `shared` says
            knots = shared * knots[:, :1] + (1 - shared) * knots
        layer = interpolate(knots, height, width, whole=True) if side else knots
        field = field + weights[:, place, None, None, None] * layer
    return _turned(field, draw(seed, purpose, number, 4 + 2 * _KNOTS * _KNOTS, (which, _WARP)) * 2 - 1)


def _turned(images: Float[Tensor, "m c h w"], drawn: Float[Tensor, "m d"]) -> Float[Tensor, "m c h w"]:
    scale = (_MINIMUM + _MAXIMUM) / 2 + (_MAXIMUM - _MINIMUM) / 2 * drawn[:, 1]
    knots = drawn[:, 4:].reshape(-1, 2, _KNOTS, _KNOTS) * _BEND
    return warp(images, drawn[:, 0] * _TURN, scale, drawn[:, 2:4] * _SHIFT, knots, "reflection")


def standardised(images: Float[Tensor, "m c h w"]) -> Float[Tensor, "m c h w"]:
    """Mean 0 and variance 1 over all pixels of an image (summed in fixed order)."""
    flat = images.flatten(1)
    count = flat.shape[1]
    flat = flat - row_sum(flat)[:, None] / count
    deviation = sqrt(row_sum(flat * flat) / count)[:, None]
    return (flat / deviation.clamp(min=1e-6)).view(images.shape)


def sigmoid(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """0 … 1 by algebra alone, ½ + ½·x / √(4 + x²): the logistic function's slope at 0, heavier tails."""
    return 0.5 + 0.5 * values / sqrt(4 + values * values)


def spread(drawn: Float[Tensor, "*n"], reach: float) -> Float[Tensor, "*n"]:
    """(1 + r·v) / (1 − r·v) with v in ±1: close to exp(2r·v) near 1, without an exponential."""
    v = reach * (2 * drawn - 1)
    return (1 + v) / (1 - v)
