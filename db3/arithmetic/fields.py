"""Smooth fields and warps made by element-wise operations alone: an image has the same bits in any batch.

Additions, products, quotients and square roots are rounded as IEEE 754 says, so what is made of them is the same on
every machine too; exponentials, logarithms and sines are avoided for that reason wherever whole images are at stake.
"""

import functools

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from db3.arithmetic.bilinear import Padding, bilinear
from db3.arithmetic.functions import divide

_TAPS = 4  # a cubic B-spline is felt by four knots


def centres(size: int) -> Float[Tensor, " size"]:
    """Pixel centres along one side, in −1 … 1."""
    return divide((torch.arange(size) * 2 + 1).float(), size) - 1


def interpolate(
    knots: Float[Tensor, "m c k k"], height: int, width: int, *, whole: bool = False
) -> Float[Tensor, "m c height width"]:
    """A smooth field through a grid of knots: cubic B-splines along one axis, then the other, summed in fixed order.

    Args:
        knots: k×k values; the outer ones lie on the image's border.
        height: of the field.
        width: likewise.
        whole: weights that sum to 1 at the border too, where the field would else fade.
    """
    count = knots.shape[-1]
    lines = _along(knots, 3, *_taps(width, count, whole))
    places, weights = _taps(height, count, whole)
    return _along(lines, 2, places, weights[..., None])


def _along(
    knots: Float[Tensor, "m c a b"], axis: int, places: Int64[Tensor, "t size"], weights: Float[Tensor, "t size *one"]
) -> Float[Tensor, "m c _ _"]:
    """The knots around each place along one axis, weighted and summed in fixed order; in place, to half the time."""
    field = knots.index_select(axis, places[0]).mul_(weights[0])
    for t in range(1, _TAPS):
        field.add_(knots.index_select(axis, places[t]).mul_(weights[t]))
    return field


@functools.lru_cache(64)
def _taps(size: int, count: int, whole: bool) -> tuple[Int64[Tensor, "t size"], Float[Tensor, "t size"]]:
    """The four knots around each pixel centre, in rising order, and their weights; 0 for knots beyond the border."""
    place = (centres(size) + 1) / 2 * (count - 1)
    knot = place.floor().long() + torch.arange(-1, _TAPS - 1)[:, None]
    distance = (place - knot).abs()
    near = 2 / 3 - distance * distance + distance * distance * distance / 2
    beyond = (2 - distance).clamp(min=0)
    far = divide(beyond * beyond * beyond, 6)
    weight = torch.where(distance < 1, near, far).where((knot >= 0) & (knot < count), 0.0)
    if whole:
        total = weight[0]
        for t in range(1, _TAPS):
            total = total + weight[t]
        weight = weight / total
    return knot.clamp(0, count - 1), weight


def warp(
    images: Float[Tensor, "m c h w"],
    tangent: Float[Tensor, " m"],
    scale: Float[Tensor, " m"],
    shift: Float[Tensor, "m 2"],
    knots: Float[Tensor, "m 2 k k"],
    padding: Padding = "border",
) -> Float[Tensor, "m c h w"]:
    """Map each pixel's place by a rotation and scale, a shift and a smooth displacement, and look there.

    Args:
        images: to be warped.
        tangent: of half the angle: sine and cosine follow from it without a function that machines round differently.
        scale: above 1 looks further away, so that what is shown shrinks.
        shift: (x, y), in half sides.
        knots: of the displacement field (x, y), in half sides.
        padding: what lies beyond the border, see `bilinear`.
    """
    height, width = images.shape[2:]
    bend = interpolate(knots, height, width)
    square = tangent * tangent
    part = scale / (1 + square)
    c, s = ((1 - square) * part)[:, None, None], (2 * tangent * part)[:, None, None]
    move = shift[..., None, None]
    y, x = centres(height)[:, None], centres(width)
    across, down = c * x - s * y + move[:, 0] + bend[:, 0], s * x + c * y + move[:, 1] + bend[:, 1]
    return bilinear(images, across, down, padding)
