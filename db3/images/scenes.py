"""Scenes: colour pictures of one made object before a background, drawn without a look at any image.

The background is a textured field, seldom a plain one, half the time with another ground below a slanting line. The
object is a body with up to four smaller parts of kindred colours, each an ellipse, a box or a diamond with a soft rim,
shaded along a direction and faintly textured; half of the objects are mirrored about their axis. Most stand on legs or
wheels and have marks, such as eyes or windows (`repeats.py`). As in `priors`, every operation is element-wise and
rounded as IEEE 754 says: an image has the same bits in any batch and on any machine.

What there is, and how much of it, was chosen by how evenly a teacher's decisions on these images fall on its classes
(docs/guides/zero-shot.md).

Source of the idea: Baradad et al., "Learning to See by Looking at Noise", NeurIPS 2021 (dead leaves);
that the layers make one object before a background is our own.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from db3.arithmetic.fields import centres
from db3.arithmetic.functions import sqrt
from db3.images import repeats
from db3.images.draws import draw
from db3.images.shapes import Body, Plane, colour, cover, over, wide
from db3.images.smooth import sigmoid, smooth, standardised
from db3.rng import Purpose
from db3.teachers.base import ImageShape

_PARTS = 5  # the body and four more
_DRAWS, _PART_DRAWS = 40, 24
_PLAIN, _HUE = 0.1, 0.4  # share of plain backgrounds; how much of their colours textures keep

Textures = tuple[Float[Tensor, "m c h w"], Float[Tensor, "m c h w"]]
Layer = tuple[Float[Tensor, "m 1 h w"], Float[Tensor, "m c _ _"]]
"""Where a part covers the picture (0 … 1), and its paint."""


def scenes(shape: ImageShape, number: Int64[Tensor, " m"], seed: int) -> Float[Tensor, "m c h w"]:
    """The scenes of these numbers, in [0, 1]."""
    own = draw(seed, Purpose.SCENE, number, _DRAWS + shape[0])
    textures = (_texture(shape, number, seed, 0), _texture(shape, number, seed, 1))
    image = _background(shape, own, textures)
    for mask, paint in _layers(shape, number, seed, own, textures):
        image = image + mask * (paint - image)
    return image.clamp(0, 1)


def _layers(
    shape: ImageShape, number: Int64[Tensor, " m"], seed: int, own: Float[Tensor, "m d"], textures: Textures
) -> Iterator[Layer]:
    """The object, from the body to what lies upon it."""
    body = _body(own)
    for part in range(_PARTS):
        drawn = draw(seed, Purpose.SCENE_PART, number, _PART_DRAWS + shape[0], (part, 0))
        yield _part(shape, part, own, body, drawn, textures)
    count = repeats.DRAWS + shape[0]
    yield repeats.legs(shape, body, draw(seed, Purpose.SCENE_LEGS, number, count), textures[0])
    yield repeats.marks(shape, body, draw(seed, Purpose.SCENE_MARKS, number, count))


def _texture(shape: ImageShape, number: Int64[Tensor, " m"], seed: int, which: int) -> Float[Tensor, "m c h w"]:
    """Smooth noise, mostly light and dark: of what sets the channels apart, it keeps a part."""
    field = smooth(shape, number, seed, Purpose.SCENE_TEXTURE, which)
    light = field[:, :1]
    for channel in range(1, shape[0]):  # in fixed order
        light = light + field[:, channel : channel + 1]
    light = light / shape[0]
    return standardised(light + _HUE * (field - light))


def _background(shape: ImageShape, own: Float[Tensor, "m d"], textures: Textures) -> Float[Tensor, "m c h w"]:
    channels = shape[0]
    x, y = centres(shape[2]), centres(shape[1])[:, None]
    gain = torch.where(own[:, 6] < _PLAIN, 0.03 * own[:, 7], 0.05 + 0.3 * own[:, 7])
    light = 0.3 * (2 * own[:, 9] - 1)
    above = over(colour(own, channels, 0.12)) + (over(light) * y)[:, None] + wide(gain) * textures[0]
    under = over(colour(own[:, 10:], channels, 0.12)) + wide(0.2 * own[:, 19] * own[:, 20]) * textures[1]
    under = under + wide(0.2 * (2 * own[:, 21] - 1)) * y
    tilt, line = over(0.6 * (own[:, 8] - 0.5)), over(0.9 * own[:, 16] - 0.1)
    there = over((own[:, 17] < 0.45).float())
    ground = there * sigmoid(over(6 + 40 * own[:, 18]) * (y + tilt * x - line))
    return above + ground[:, None] * (under - above)


def _body(own: Float[Tensor, "m d"]) -> Body:
    return Body(
        x=0.6 * own[:, 28] - 0.3,
        y=0.5 * own[:, 29] - 0.2,
        size=0.3 + 0.45 * own[:, 30],
        stretch=1 + 2.0 * own[:, 31] * own[:, 38],
        sharp=4 + 16 * own[:, 35],
        grain=0.3 * own[:, 36] * own[:, 37],
        drawn=own[:, 22:],
    )


def _part(
    shape: ImageShape,
    part: int,
    own: Float[Tensor, "m d"],
    body: Body,
    drawn: Float[Tensor, "m p"],
    textures: Textures,
) -> Layer:
    channels = shape[0]
    place = _place(part, own, body, drawn)
    size = place[:, 2]
    u, v = _frame(shape, place)
    mask = cover(u, v, size, drawn[:, 7], body.sharp)
    if part:
        other = torch.stack([2 * body.x - place[:, 0], place[:, 1], size, place[:, 3], 1 - place[:, 4]], dim=1)
        mirrored = torch.maximum(mask, cover(*_frame(shape, other), size, drawn[:, 7], body.sharp))
        mask = torch.where(wide(own[:, 34]) < 0.5, mirrored, mask)
        mask = mask * wide((drawn[:, 0] < 0.8).float())
    level = body.level(channels)
    if part:
        differs = (drawn[:, 8:9] + drawn[:, 9:10] - 1) * 1.5 + 0.5 * (2 * drawn[:, 10 : 10 + channels] - 1)
        level = level + (0.05 + 0.3 * own[:, 39:40]) * differs
    rest = 2 * drawn[:, 13 + channels :] - 1
    along, across = over(rest[:, 3]) * u.clamp(-1, 1), over(rest[:, 4]) * v.clamp(-1, 1)
    shade = over(0.3 * rest[:, 2]) * (along + across)
    texture = wide(rest[:, 0]) * textures[0] + wide(rest[:, 1]) * textures[1]
    return mask, over(level) + shade[:, None] + wide(body.grain) * texture


def _place(part: int, own: Float[Tensor, "m d"], body: Body, drawn: Float[Tensor, "m p"]) -> Float[Tensor, "m 5"]:
    """Centre (x, y) and size in half sides, width over height, and a turn in 0 … 1 for ±90°."""
    if part == 0:  # mostly upright
        turn = 0.5 + 0.5 * (own[:, 32] - 0.5) * own[:, 33]
        return torch.stack([body.x, body.y, body.size, body.stretch, turn], dim=1)
    return torch.stack(
        [
            body.x + (2.2 * drawn[:, 2] - 1.1) * body.size * sqrt(body.stretch),
            body.y + (2.2 * drawn[:, 3] - 1.1) * body.size,
            body.size * (0.15 + 0.6 * drawn[:, 1]),
            (1 + 2 * drawn[:, 4]) / (1 + 2 * drawn[:, 5]),
            0.5 + 0.6 * (drawn[:, 6] - 0.5),
        ],
        dim=1,
    )


def _frame(shape: ImageShape, place: Float[Tensor, "m 5"]) -> tuple[Plane, Plane]:
    """Each pixel's place in a part's own coordinates, in which its rim is 1 away from its centre."""
    x, y, size, aspect, turn = (over(place[:, i]) for i in range(5))
    tangent = 2 * turn - 1  # of half the angle
    square = tangent * tangent
    cosine, sine = (1 - square) / (1 + square), 2 * tangent / (1 + square)
    right, down, root = centres(shape[2]) - x, centres(shape[1])[:, None] - y, sqrt(aspect)
    return (cosine * right + sine * down) / (size * root), (cosine * down - sine * right) * root / size
