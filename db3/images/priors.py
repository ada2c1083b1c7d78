"""Priors: images made without a look at any data, each a function of (shape, seed, its number).

What natural images and drawings have in common, and noise lacks: most of the variance lies in low frequencies, and
there are edges, strokes and objects before a background. A grey prior image is smooth noise of several scales, warped,
standardised, and brought to contrast by a random threshold and gain; an elliptic window may cut an object out of it. A
colour one is a scene (`scenes.py`) or what a small random program computes (`programs.py`), about as many of each.
Every operation is element-wise or a sum in fixed order, and rounded as IEEE 754 says, so an image has the same bits in
any batch and on any machine. Images are uint8 and are asked exactly as they are.

Source of the idea: Baradad et al., "Learning to See by Looking at Noise", NeurIPS 2021; Ulyanov et al., "Deep Image
Prior", CVPR 2018. The contrast, without which few classes are ever decided, is our own.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from db3.arithmetic.fields import centres
from db3.arithmetic.functions import sqrt
from db3.images.draws import draw
from db3.images.programs import programs
from db3.images.scenes import scenes
from db3.images.smooth import sigmoid, smooth, spread, standardised
from db3.progress import Progress
from db3.rng import Purpose
from db3.teachers.base import ImageShape

GREY = ("edges", "edges in a window", "bands", "bands in a window")
COLOUR = ("scene", "program")

_CHUNK = 512  # images made at once: what fits a processor's cache; changes no image


def families(channels: int) -> tuple[str, ...]:
    """Names of the families of prior images; an image's family is a small number into them."""
    return GREY if channels == 1 else COLOUR


def prior_images(shape: ImageShape, numbers: Sequence[int], seed: int) -> UInt8[np.ndarray, "m c h w"]:
    """The prior images of the given numbers (0 … 2³² − 1)."""
    chunks = [numbers[start : start + _CHUNK] for start in range(0, len(numbers), _CHUNK)]
    with Progress("making prior images", len(numbers), "img", inner=True) as progress:
        parts = [_images(shape, chunk, seed) for chunk in progress.over(chunks)]
    return np.concatenate(parts) if parts else np.empty((0, *shape), np.uint8)


def prior_families(shape: ImageShape, numbers: Sequence[int], seed: int) -> Int64[np.ndarray, " m"]:
    """The family of each of these images."""
    number = torch.tensor(numbers, dtype=torch.int64)
    names: Int64[np.ndarray, " m"] = _family(number, seed, len(families(shape[0]))).numpy()
    return names


def _images(shape: ImageShape, numbers: Sequence[int], seed: int) -> UInt8[np.ndarray, "m c h w"]:
    number = torch.tensor(numbers, dtype=torch.int64)
    family = _family(number, seed, len(families(shape[0])))
    images = torch.empty(len(number), *shape)
    for kind in sorted(set(family.tolist())):
        rows = (family == kind).nonzero()[:, 0]
        images[rows] = _of_family(families(shape[0])[kind], shape, number[rows], seed)
    return images.mul_(255).round_().clamp_(0, 255).to(torch.uint8).numpy()


def _of_family(name: str, shape: ImageShape, number: Int64[Tensor, " m"], seed: int) -> Float[Tensor, "m c h w"]:
    if name == "scene":
        return scenes(shape, number, seed)
    return programs(shape, number, seed) if name == "program" else _grey(GREY.index(name), shape, number, seed)


def _family(number: Int64[Tensor, " m"], seed: int, count: int) -> Int64[Tensor, " m"]:
    return (draw(seed, Purpose.PRIOR_FAMILY, number, 1)[:, 0] * count).long()


def _grey(kind: int, shape: ImageShape, number: Int64[Tensor, " m"], seed: int) -> Float[Tensor, "m c h w"]:
    field = standardised(smooth(shape, number, seed, Purpose.PRIOR_FIELD))
    shaped: Callable[..., Float[Tensor, "m c h w"]] = _bands if kind >= 2 else _edges
    images = shaped(field, draw(seed, Purpose.PRIOR_CONTRAST, number, 3))
    return images * window(shape, draw(seed, Purpose.PRIOR_WINDOW, number, 6)) if kind % 2 else images


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
    distance = sqrt(x * x + y * y)
    sharp = _gain(drawn[:, 4], 4.0, 30.0)[:, None, None]
    return sigmoid(sharp * (1 - distance))[:, None]


def _gain(drawn: Float[Tensor, " m"], low: float, high: float) -> Float[Tensor, " m"]:
    """From uniform numbers to numbers in low … high, about as many in each octave."""
    root = math.sqrt(high / low)
    return math.sqrt(low * high) * spread(drawn, (root - 1) / (root + 1))
