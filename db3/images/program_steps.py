"""The steps of image programs: what moves the place where a pixel looks, and what it finds there.

All of them are additions, products, quotients, comparisons and roots of planes, one after the other; the waves are
cubic, so that no sine is needed.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from db3.arithmetic.bilinear import bilinear
from db3.arithmetic.functions import sqrt
from db3.images.shapes import Plane, over

MOVE_DRAWS, FIND_DRAWS = 12, 16
_BEND, _FOLD, _TILE, _SHEAR, _INVERT, _RING = range(6)
_MOVES, _FINDS, _JOINS = 8, 6, 5  # kinds; a move from 6 on only turns, scales and shifts
_LEAST = 0.1  # squared radius below which an inversion grows no more


class Place(NamedTuple):
    """Where each pixel looks, in half sides of the picture."""

    u: Plane
    v: Plane

    def rows(self, rows: Tensor) -> "Place":
        return Place(self.u[rows], self.v[rows])

    def distance(self) -> Plane:
        """From the middle."""
        return sqrt(self.u * self.u + self.v * self.v)


def wave(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """1 at whole numbers, −1 half way between, smooth: a cosine's shape from a cubic."""
    rest = values - values.floor()
    rest = (2 * rest - 1).abs()
    return 2 * smoothstep(rest) - 1


def smoothstep(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """0 up to 0, 1 from 1 on, 3x² − 2x³ between."""
    x = values.clamp(0, 1)
    return x * x * (3 - 2 * x)


def turned(place: Place, tangent: Float[Tensor, " m"]) -> Place:
    """Turned about the middle by twice the angle of this tangent."""
    t = over(tangent)
    square = t * t
    cosine, sine = (1 - square) / (1 + square), 2 * t / (1 + square)
    return Place(cosine * place.u + sine * place.v, cosine * place.v - sine * place.u)


def moved(place: Place, noise: Float[Tensor, "m 4 h w"], drawn: Float[Tensor, "m d"]) -> Place:
    """Turned, scaled and shifted, then bent by noise, folded, tiled, sheared in waves, inverted or rolled into rings.

    Args:
        place: where each pixel looks.
        noise: four fields, standardised.
        drawn: `MOVE_DRAWS` uniform numbers an image.
    """
    place, scale = turned(place, 2 * drawn[:, 1] - 1), over(0.6 + 1.2 * drawn[:, 2] * drawn[:, 3])
    place = Place(place.u * scale + over(drawn[:, 4] - 0.5), place.v * scale + over(drawn[:, 5] - 0.5))
    kind = (drawn[:, 0] * _MOVES).long()
    u, v = place.u.clone(), place.v.clone()
    for which, move in enumerate((_bent, _folded, _tiled, _sheared, _inverted, _ringed)):
        rows = (kind == which).nonzero()[:, 0]
        if len(rows):
            u[rows], v[rows] = move(place.rows(rows), noise[rows], drawn[rows, 6:])
    return Place(u, v)


def _bent(place: Place, noise: Float[Tensor, "m 4 h w"], drawn: Float[Tensor, "m d"]) -> Place:
    there, far = looked_up(noise[:, :2], place), over(0.05 + 0.35 * drawn[:, 0])
    return Place(place.u + far * there[:, 0], place.v + far * there[:, 1])


def _folded(place: Place, _: Tensor, drawn: Float[Tensor, "m d"]) -> Place:
    u = place.u.abs() - over(0.7 * drawn[:, 0])
    twice = over(drawn[:, 1]) < 0.4
    return Place(torch.where(twice, u.abs() - over(0.4 * drawn[:, 2]), u), place.v)


def _tiled(place: Place, _: Tensor, drawn: Float[Tensor, "m d"]) -> Place:
    half = over(0.2 + 0.6 * drawn[:, 0])
    across, down = place.u / half, place.v / half
    row = (down * 0.5 + 0.5).floor()
    across = across + torch.where(over(drawn[:, 1]) < 0.4, row, torch.zeros(()))  # as bricks lie
    u = across - 2 * (across * 0.5 + 0.5).floor()
    v = torch.where(over(drawn[:, 2]) < 0.3, place.v, down - 2 * row)
    return Place(u, v)


def _sheared(place: Place, _: Tensor, drawn: Float[Tensor, "m d"]) -> Place:
    there = wave(over(0.3 + 1.7 * drawn[:, 0] * drawn[:, 1]) * place.v + over(drawn[:, 2]))
    return Place(place.u + over(0.5 * drawn[:, 3]) * there, place.v)


def _inverted(place: Place, _: Tensor, drawn: Float[Tensor, "m d"]) -> Place:
    factor = over(0.2 + 0.8 * drawn[:, 0]) / (place.u * place.u + place.v * place.v + _LEAST)
    return Place(place.u * factor, place.v * factor)


def _ringed(place: Place, _: Tensor, drawn: Float[Tensor, "m d"]) -> Place:
    """The distance from the middle, and how far around it is (by the rim of a diamond, which needs no arc tangent)."""
    around = place.u.abs() + place.v.abs() + 1e-3
    turn = torch.where(place.v < 0, place.u / around - 1, 1 - place.u / around)
    count = (1 + 4 * drawn[:, 1]).floor()  # whole numbers, so that the rim meets itself
    return Place(place.distance() * over(1 + 2 * drawn[:, 0]) - 1, wave(turn * over(count) * 0.5))


def looked_up(noise: Float[Tensor, "m c h w"], place: Place) -> Float[Tensor, "m c h w"]:
    """The noise at these places; beyond its border it is mirrored."""
    return bilinear(noise, place.u.clamp(-64, 64), place.v.clamp(-64, 64), "reflection")


def found(place: Place, noise: Float[Tensor, "m 4 h w"], drawn: Float[Tensor, "m d"]) -> Plane:
    """Two of noise, stripes, rings, checks, ridges and shapes, joined by a sum, a product, or the larger of them.

    Args:
        place: where each pixel looks.
        noise: four fields, standardised.
        drawn: `FIND_DRAWS` uniform numbers an image.
    """
    fields = looked_up(noise[:, 2:], place)
    first = _one(place, fields[:, 0], drawn[:, :6])
    second = _one(place, fields[:, 1], drawn[:, 6:12])
    kind, share = over((drawn[:, 12] * _JOINS).floor()), over(drawn[:, 13])
    joined = first + share * (second - first)
    for which, value in enumerate((first * second, torch.maximum(first, second), torch.minimum(first, second))):
        joined = torch.where(kind == which, value, joined)
    return joined


def _one(place: Place, noise: Plane, drawn: Float[Tensor, "m d"]) -> Plane:
    kind, pace, phase = over((drawn[:, 0] * _FINDS).floor()), over(0.3 + 2.2 * drawn[:, 1] * drawn[:, 2]), drawn[:, 3]
    u, v = pace * place.u + over(phase), pace * place.v + over(drawn[:, 4])
    across, down = wave(u), wave(v)
    shape = torch.maximum(place.u.abs(), place.v.abs()) - over(drawn[:, 5])
    value = 0.6 * noise
    for which, other in enumerate(
        (across, wave(pace * place.distance() + over(phase)), across * down, 1 - noise.abs(), shape.clamp(-1.5, 1.5))
    ):
        value = torch.where(kind == which, other, value)
    return value
