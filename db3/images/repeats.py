"""Parts of which an object has several alike, in a row: legs or wheels beneath it, eyes or windows upon it.

A row is made by folding the picture about the object's axis, once for two copies and twice for four; a single mark
lies anywhere across the object.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from db3.arithmetic.fields import centres
from db3.arithmetic.functions import sqrt
from db3.images.shapes import Body, cover, over, wide
from db3.teachers.base import ImageShape

DRAWS = 24  # uniform numbers that a row takes, beside one for each channel
_LEGS, _MARKS = 0.6, 0.7  # share of the objects that have them


class Row(NamedTuple):
    """Alike parts; one value for each of m images, lengths in half sides.

    Attributes:
        x, y: the middle of the row.
        apart: from the middle to the copies, or to the pairs of them; 0: all in one place.
        within: from the middle of a pair to each of two; 0: no pairs.
        size: geometric mean of a copy's half width and half height.
        tall: height over width of a copy.
        kind: see `cover`.
    """

    x: Float[Tensor, " m"]
    y: Float[Tensor, " m"]
    apart: Float[Tensor, " m"]
    within: Float[Tensor, " m"]
    size: Float[Tensor, " m"]
    tall: Float[Tensor, " m"]
    kind: Float[Tensor, " m"]


def legs(
    shape: ImageShape, body: Body, drawn: Float[Tensor, "m d"], texture: Float[Tensor, "m c h w"]
) -> tuple[Float[Tensor, "m 1 h w"], Float[Tensor, "m c h w"]]:
    """Two or four beneath the body, thin ones or, a third of them, wheels; the cover and the paint."""
    channels, wheels, nought = shape[0], drawn[:, 6] < 0.35, torch.zeros(())
    apart = body.width * (0.35 + 0.5 * drawn[:, 0])
    row = Row(
        x=body.x,
        y=body.y + body.height * (0.6 + 0.7 * drawn[:, 7]),
        apart=apart,
        within=torch.where(drawn[:, 1] < 0.5, nought, apart * (0.2 + 0.25 * drawn[:, 2])),
        size=body.size * (0.12 + 0.25 * drawn[:, 3]),
        tall=torch.where(wheels, torch.ones(()), 1 + 4 * drawn[:, 4] * drawn[:, 5]),
        kind=torch.where(wheels, nought, 0.5 + 0.3 * drawn[:, 8]),
    )
    dark = 0.15 + 0.1 * drawn[:, 10 : 10 + channels]
    kindred = body.level(channels) + 0.3 * (2 * drawn[:, 14:15] - 1) + 0.1 * (2 * drawn[:, 15 : 15 + channels] - 1)
    level = torch.where(drawn[:, 9:10] < 0.4, dark, kindred)
    there = wide((drawn[:, 20] < _LEGS).float())
    return _covered(shape, row, body) * there, over(level) + wide(body.grain) * texture


def marks(
    shape: ImageShape, body: Body, drawn: Float[Tensor, "m d"]
) -> tuple[Float[Tensor, "m 1 h w"], Float[Tensor, "m c 1 1"]]:
    """One, two or four small ones upon the body, dark or light; the cover and the paint."""
    channels, single, nought = shape[0], drawn[:, 11] < 0.35, torch.zeros(())
    apart = torch.where(single, nought, body.width * (0.2 + 0.5 * drawn[:, 0]))
    row = Row(
        x=body.x + torch.where(single, body.width * (1.6 * drawn[:, 12] - 0.8), nought),
        y=body.y + body.height * (0.9 * drawn[:, 7] - 0.8),
        apart=apart,
        within=torch.where(drawn[:, 1] < 0.7, nought, apart * (0.2 + 0.25 * drawn[:, 2])),
        size=body.size * (0.07 + 0.22 * drawn[:, 3] * drawn[:, 13]),
        tall=(1 + drawn[:, 4]) / (1 + drawn[:, 5]),
        kind=0.8 * drawn[:, 8],
    )
    dark = 0.1 + 0.1 * drawn[:, 14 : 14 + channels]
    light = 0.5 + 0.5 * drawn[:, 10:11] + 0.15 * (2 * drawn[:, 15 : 15 + channels] - 1)
    there = wide((drawn[:, 20] < _MARKS).float())
    return _covered(shape, row, body) * there, over(torch.where(drawn[:, 9:10] < 0.6, dark, light))


def _covered(shape: ImageShape, row: Row, body: Body) -> Float[Tensor, "m 1 h w"]:
    """What all copies of a row cover: each pixel is folded onto one copy."""
    folded = ((centres(shape[2]) - over(row.x)).abs() - over(row.apart)).abs() - over(row.within)
    root, size = over(sqrt(row.tall)), over(row.size)
    u, v = folded * root / size, (centres(shape[1])[:, None] - over(row.y)) / (size * root)
    size_of_picture = (-1, shape[1], shape[2])
    return cover(u.expand(size_of_picture), v.expand(size_of_picture), row.size, row.kind, body.sharp)
