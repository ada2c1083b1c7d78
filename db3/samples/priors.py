"""Priors: images made without a look at any data, each a function of (shape, seed, its number).

What natural images and drawings have in common, and noise lacks: most of the variance lies in low frequencies, and
there are edges, strokes and objects before a background. A prior image is smooth noise of several scales, warped,
standardised, and brought to contrast by a random threshold and gain; an elliptic window or a mask may cut an object out
of it. Every operation is element-wise or a sum in fixed order, and rounded as IEEE 754 says, so an image has the same
bits in any batch and on any machine. Images are uint8 and are asked exactly as they are.

Source of the idea: Baradad et al., "Learning to See by Looking at Noise", NeurIPS 2021; Ulyanov et al., "Deep Image
Prior", CVPR 2018. The contrast, without which few classes are ever decided, is our own.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from db3 import rng
from db3.exact import row_sum
from db3.samples.fields import centres, interpolate, warp
from db3.teachers.base import ImageShape

GREY = ("edges", "edges in a window", "bands", "bands in a window")
COLOUR = ("smooth", "edges", "cut-mix", "object")

_CHUNK = 512  # images made at once: what fits a processor's cache; changes no image
_TURN, _LEAST, _MOST = 0.4142, 0.6, 1.2  # tangent of half the largest angle (45°), scales
_SHIFT, _BEND, _KNOTS = 0.3, 0.3, 5  # in half sides
_FAMILY, _NOISE, _WARP, _CONTRAST, _WINDOW, _MASK = range(6)  # roles that key the draws


def families(channels: int) -> tuple[str, ...]:
    """Names of the families of prior images; an image's family is a small number into them."""
    return GREY if channels == 1 else COLOUR


def prior_images(shape: ImageShape, numbers: Sequence[int], seed: int) -> UInt8[np.ndarray, "m c h w"]:
    """The prior images of the given numbers (0 … 2³² − 1)."""
    parts = [_images(shape, numbers[start : start + _CHUNK], seed) for start in range(0, len(numbers), _CHUNK)]
    return np.concatenate(parts) if parts else np.empty((0, *shape), np.uint8)


def prior_families(shape: ImageShape, numbers: Sequence[int], seed: int) -> Int64[np.ndarray, " m"]:
    """The family of each of these images."""
    number = torch.tensor(numbers, dtype=torch.int64)
    names: Int64[np.ndarray, " m"] = _family(number, seed, len(families(shape[0]))).numpy()
    return names


def _images(shape: ImageShape, numbers: Sequence[int], seed: int) -> UInt8[np.ndarray, "m c h w"]:
    number = torch.tensor(numbers, dtype=torch.int64)
    family = _family(number, seed, len(families(shape[0])))
    make = _grey if shape[0] == 1 else _colour
    images = torch.empty(len(number), *shape)
    for kind in sorted(set(family.tolist())):
        rows = (family == kind).nonzero()[:, 0]
        images[rows] = make(kind, shape, number[rows], seed)
    return images.mul_(255).round_().clamp_(0, 255).to(torch.uint8).numpy()


def _family(number: Int64[Tensor, " m"], seed: int, count: int) -> Int64[Tensor, " m"]:
    return (_draw(seed, number, _FAMILY, 1)[:, 0] * count).long()


def _grey(kind: int, shape: ImageShape, number: Int64[Tensor, " m"], seed: int) -> Float[Tensor, "m c h w"]:
    field = standardised(smooth(shape, number, seed, _NOISE))
    shaped: Callable[..., Float[Tensor, "m c h w"]] = _bands if kind >= 2 else _edges
    images = shaped(field, _draw(seed, number, _CONTRAST, 3))
    return images * window(shape, _draw(seed, number, _WINDOW, 6)) if kind % 2 else images


def _colour(kind: int, shape: ImageShape, number: Int64[Tensor, " m"], seed: int) -> Float[Tensor, "m c h w"]:
    first = _picture(shape, number, seed, 0, edges=kind == 1)
    if kind < 2:
        return first
    second = _picture(shape, number, seed, 16, edges=False)
    if kind == 3:
        mask = window(shape, _draw(seed, number, _WINDOW, 6))
    else:
        field = standardised(smooth((1, *shape[1:]), number, seed, _MASK))
        mask = _edges(field, _draw(seed, number, _MASK + 8, 3))
    return mask * first + (1 - mask) * second


def _picture(
    shape: ImageShape, number: Int64[Tensor, " m"], seed: int, layer: int, *, edges: bool
) -> Float[Tensor, "m c h w"]:
    """A colour field around a colour of its own."""
    field = standardised(smooth(shape, number, seed, _NOISE + layer))
    drawn = _draw(seed, number, _CONTRAST + layer, shape[0] + 3)
    if edges:
        return torch.cat([_edges(field[:, c : c + 1], drawn[:, [0, 1, 2 + c]]) for c in range(shape[0])], dim=1)
    level = 0.5 + 0.5 * (drawn[:, :1] - 0.5) + 0.4 * (drawn[:, 1 : 1 + shape[0]] - 0.5)
    gain = 0.03 + 0.3 * drawn[:, -1]
    return (level[..., None, None] + gain[:, None, None, None] * field).clamp(0, 1)


def smooth(shape: ImageShape, number: Int64[Tensor, " m"], seed: int, role: int) -> Float[Tensor, "m c h w"]:
    """Noise of several scales, weighted at random for each image, turned, scaled, shifted and bent."""
    channels, height, width = shape
    sides = [s for s in (2, 3, 4, 6, 8) if s < min(height, width)]
    sides = [*sides, max(2, min(height, width) // 2), 0]  # 0: every pixel its own
    counts = [channels * (s * s or height * width) for s in sides]
    noise = _noise(seed, number, role, sum(counts))
    drawn = _draw(seed, number, role + 32, 2 * len(sides) + 1)
    weights = _spread(drawn[:, : len(sides)], 0.95)
    weights = weights / row_sum(weights)[:, None]
    shared = drawn[:, 2 * len(sides)][:, None, None, None]
    field = torch.zeros(())
    for place, (side, values) in enumerate(zip(sides, torch.split(noise, counts, dim=1), strict=True)):
        knots = values.reshape(len(number), channels, side or height, side or width)
        if channels > 1:  # channels go together by as much as `shared` says
            knots = shared * knots[:, :1] + (1 - shared) * knots
        layer = interpolate(knots, height, width, whole=True) if side else knots
        field = field + weights[:, place, None, None, None] * layer
    return _turned(field, seed, number, role + 64)


def _turned(
    images: Float[Tensor, "m c h w"], seed: int, number: Int64[Tensor, " m"], role: int
) -> Float[Tensor, "m c h w"]:
    drawn = _draw(seed, number, role, 4 + 2 * _KNOTS * _KNOTS) * 2 - 1
    tangent = drawn[:, 0] * _TURN
    square = tangent * tangent
    scale = (_LEAST + _MOST) / 2 + (_MOST - _LEAST) / 2 * drawn[:, 1]
    over = scale / (1 + square)
    knots = drawn[:, 4:].reshape(-1, 2, _KNOTS, _KNOTS) * _BEND
    return warp(images, (1 - square) * over, 2 * tangent * over, drawn[:, 2:4] * _SHIFT, knots, "reflection")


def standardised(images: Float[Tensor, "m c h w"]) -> Float[Tensor, "m c h w"]:
    """Mean 0 and variance 1 over all pixels of an image (summed in fixed order)."""
    flat = images.flatten(1)
    count = flat.shape[1]
    flat = flat - row_sum(flat)[:, None] / count
    deviation = (row_sum(flat * flat) / count).sqrt()[:, None]
    return (flat / deviation.clamp(min=1e-6)).view(images.shape)


def _edges(field: Float[Tensor, "m c h w"], drawn: Float[Tensor, "m 3"]) -> Float[Tensor, "m c h w"]:
    """Light above a threshold in ±2: the gain, 1 … 20, says how sharp."""
    gain, threshold = _gain(drawn[:, 0], 1.0, 20.0), 2 * (drawn[:, 1] + drawn[:, 2]) - 2
    return sigmoid(gain[:, None, None, None] * (field - threshold[:, None, None, None]))


def _bands(field: Float[Tensor, "m c h w"], drawn: Float[Tensor, "m 3"]) -> Float[Tensor, "m c h w"]:
    """Light along a contour line of the field: strokes of some width."""
    gain, level, width = _gain(drawn[:, 0], 3.0, 20.0), 2 * drawn[:, 1] - 1, 0.15 + 0.45 * drawn[:, 2]
    away = (field - level[:, None, None, None]).abs()
    return sigmoid(gain[:, None, None, None] * (width[:, None, None, None] - away))


def window(shape: ImageShape, drawn: Float[Tensor, "m 6"]) -> Float[Tensor, "m 1 h w"]:
    """A soft ellipse: centre within ±0.2, radii 0.3 … 1 (in half sides), an edge of random softness."""
    centre = (drawn[:, :2] * 0.4 - 0.2)[..., None, None]
    radius = (0.3 + 0.7 * drawn[:, 2:4])[..., None, None]
    x = (centres(shape[2]) - centre[:, 0]) / radius[:, 0]
    y = (centres(shape[1])[:, None] - centre[:, 1]) / radius[:, 1]
    distance = (x * x + y * y).sqrt()
    sharp = _gain(drawn[:, 4], 4.0, 30.0)[:, None, None]
    return sigmoid(sharp * (1 - distance))[:, None]


def sigmoid(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """0 … 1 by algebra alone, ½ + ½·x / √(4 + x²): the logistic function's slope at 0, heavier tails."""
    return 0.5 + 0.5 * values / (4 + values * values).sqrt()


def _gain(drawn: Float[Tensor, " m"], low: float, high: float) -> Float[Tensor, " m"]:
    """From uniform numbers to numbers in low … high, about as many in each octave."""
    root = math.sqrt(high / low)
    return math.sqrt(low * high) * _spread(drawn, (root - 1) / (root + 1))


def _spread(drawn: Float[Tensor, "*n"], reach: float) -> Float[Tensor, "*n"]:
    """(1 + r·v) / (1 − r·v) with v in ±1: close to exp(2r·v) near 1, without an exponential."""
    v = reach * (2 * drawn - 1)
    return (1 + v) / (1 - v)


def _draw(seed: int, number: Int64[Tensor, " m"], role: int, count: int) -> Float[Tensor, "m count"]:
    return rng.uniform(seed, number, torch.full_like(number, role), torch.zeros_like(number), count)


def _noise(seed: int, number: Int64[Tensor, " m"], role: int, count: int) -> Float[Tensor, "m count"]:
    """Noise in −1 … 1 of 256 levels, four of a random word."""
    words = rng.words(seed, number, torch.full_like(number, role), torch.zeros_like(number), (count + 3) // 4)
    octets = words.to(torch.int32).view(torch.uint8)[:, :count]
    return octets.float() / 127.5 - 1
