"""Scenes: colour pictures of one made object before a background, drawn without a look at any image.

The background is a plain or textured field, half the time with another ground below a slanting line. The object is a
body with up to four smaller parts of kindred colours, each an ellipse, a box or a diamond with a soft rim, shaded along
a direction and faintly textured; half of the objects are mirrored about their axis. As in `priors`, every operation is
element-wise and rounded as IEEE 754 says: an image has the same bits in any batch and on any machine.

Source of the idea: Baradad et al., "Learning to See by Looking at Noise", NeurIPS 2021 (dead leaves);
that the layers make one object before a background is our own.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from db3.samples.fields import centres
from db3.samples.smooth import draw, sigmoid, smooth, standardised
from db3.teachers.base import ImageShape

_PARTS = 5  # the body and four more
_TEXTURE, _OWN, _PART = 600, 700, 701  # roles that key the draws, apart from those of other images
_DRAWS, _PART_DRAWS = 40, 24

Plane = Float[Tensor, "m h w"]


def scenes(shape: ImageShape, number: Int64[Tensor, " m"], seed: int) -> Float[Tensor, "m c h w"]:
    """The scenes of these numbers, in [0, 1]."""
    own = draw(seed, number, _OWN, _DRAWS + shape[0])
    textures = (_texture(shape, number, seed, 0), _texture(shape, number, seed, 1))
    image = _background(shape, own, textures)
    for part in range(_PARTS):
        drawn = draw(seed, number, _PART + part, _PART_DRAWS + shape[0])
        mask, paint = _part(shape, part, own, drawn, textures)
        image = image + mask * (paint - image)
    return image.clamp(0, 1)


Textures = tuple[Float[Tensor, "m c h w"], Float[Tensor, "m c h w"]]


def _texture(shape: ImageShape, number: Int64[Tensor, " m"], seed: int, which: int) -> Float[Tensor, "m c h w"]:
    return standardised(smooth(shape, number, seed, _TEXTURE + which))


def _background(shape: ImageShape, own: Float[Tensor, "m d"], textures: Textures) -> Float[Tensor, "m c h w"]:
    channels = shape[0]
    x, y = centres(shape[2]), centres(shape[1])[:, None]
    gain = torch.where(own[:, 6] < 0.5, 0.03 * own[:, 7], 0.05 + 0.2 * own[:, 7])
    light = 0.3 * (2 * own[:, 9] - 1)
    above = _over(_colour(own, channels, 0.12)) + (_over(light) * y)[:, None] + _wide(gain) * textures[0]
    under = _over(_colour(own[:, 10:], channels, 0.12)) + _wide(0.2 * own[:, 19] * own[:, 20]) * textures[1]
    under = under + _wide(0.2 * (2 * own[:, 21] - 1)) * y
    tilt, line = _over(0.6 * (own[:, 8] - 0.5)), _over(0.9 * own[:, 16] - 0.1)
    there = _over((own[:, 17] < 0.45).float())
    ground = there * sigmoid(_over(6 + 40 * own[:, 18]) * (y + tilt * x - line))
    return above + ground[:, None] * (under - above)


def _part(
    shape: ImageShape, part: int, own: Float[Tensor, "m d"], drawn: Float[Tensor, "m p"], textures: Textures
) -> tuple[Float[Tensor, "m 1 h w"], Float[Tensor, "m c h w"]]:
    """Where a part of the object covers the picture (0 … 1), and its paint."""
    channels = shape[0]
    place = _place(part, own, drawn)
    sharp, size = 10 + 24 * own[:, 35], place[:, 2]
    u, v = _frame(shape, place)
    mask = _shape(u, v, size, drawn[:, 7], sharp)
    if part:
        other = torch.stack([2 * _middle(own) - place[:, 0], place[:, 1], size, place[:, 3], 1 - place[:, 4]], dim=1)
        mirrored = torch.maximum(mask, _shape(*_frame(shape, other), size, drawn[:, 7], sharp))
        mask = torch.where(_wide(own[:, 34]) < 0.5, mirrored, mask)
        mask = mask * _wide((drawn[:, 0] < 0.8).float())
    level = _colour(own[:, 22:], channels, 0.3)
    if part:
        differs = (drawn[:, 8:9] + drawn[:, 9:10] - 1) * 1.5 + 0.5 * (2 * drawn[:, 10 : 10 + channels] - 1)
        level = level + (0.05 + 0.3 * own[:, 39:40]) * differs
    rest = 2 * drawn[:, 13 + channels :] - 1
    along, across = _over(rest[:, 3]) * u.clamp(-1, 1), _over(rest[:, 4]) * v.clamp(-1, 1)
    shade = _over(0.3 * rest[:, 2]) * (along + across)
    texture = _wide(rest[:, 0]) * textures[0] + _wide(rest[:, 1]) * textures[1]
    return mask, _over(level) + shade[:, None] + _wide(0.15 * own[:, 36] * own[:, 37]) * texture


def _place(part: int, own: Float[Tensor, "m d"], drawn: Float[Tensor, "m p"]) -> Float[Tensor, "m 5"]:
    """Centre (x, y) and size in half sides, width over height, and a turn in 0 … 1 for ±90°."""
    x, y = _middle(own), 0.5 * own[:, 29] - 0.2
    body, stretch = 0.3 + 0.45 * own[:, 30], 1 + 2.0 * own[:, 31] * own[:, 38]
    if part == 0:  # mostly upright
        return torch.stack([x, y, body, stretch, 0.5 + 0.5 * (own[:, 32] - 0.5) * own[:, 33]], dim=1)
    return torch.stack(
        [
            x + (2.2 * drawn[:, 2] - 1.1) * body * stretch.sqrt(),
            y + (2.2 * drawn[:, 3] - 1.1) * body,
            body * (0.15 + 0.6 * drawn[:, 1]),
            (1 + 2 * drawn[:, 4]) / (1 + 2 * drawn[:, 5]),
            0.5 + 0.6 * (drawn[:, 6] - 0.5),
        ],
        dim=1,
    )


def _middle(own: Float[Tensor, "m d"]) -> Float[Tensor, " m"]:
    return 0.6 * own[:, 28] - 0.3


def _frame(shape: ImageShape, place: Float[Tensor, "m 5"]) -> tuple[Plane, Plane]:
    """Each pixel's place in a part's own coordinates, in which its rim is 1 away from its centre."""
    x, y, size, aspect, turn = (_over(place[:, i]) for i in range(5))
    tangent = 2 * turn - 1  # of half the angle
    square = tangent * tangent
    cosine, sine = (1 - square) / (1 + square), 2 * tangent / (1 + square)
    right, down, root = centres(shape[2]) - x, centres(shape[1])[:, None] - y, aspect.sqrt()
    return (cosine * right + sine * down) / (size * root), (cosine * down - sine * right) * root / size


def _shape(
    u: Plane, v: Plane, size: Float[Tensor, " m"], kind: Float[Tensor, " m"], sharp: Float[Tensor, " m"]
) -> Float[Tensor, "m 1 h w"]:
    """1 within, 0 beyond a soft rim: 55 % ellipses, 35 % boxes, 10 % diamonds."""
    across, down, which = u.abs(), v.abs(), _over(kind)
    straight = torch.where(which < 0.9, torch.maximum(across, down), across + down)
    distance = torch.where(which < 0.55, (u * u + v * v).sqrt(), straight)
    return sigmoid(_over(sharp * size) * (1 - distance) * 4)[:, None]


def _colour(drawn: Float[Tensor, "m d"], channels: int, spread: float) -> Float[Tensor, "m c"]:
    """A brightness, most often a middling one, and what each channel differs from it by."""
    brightness = 0.5 + 0.45 * (drawn[:, :1] + drawn[:, 1:2] - 1)
    return brightness + spread * (2 * drawn[:, 2 : 2 + channels] - 1)


def _over(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n 1 1"]:
    return values[..., None, None]


def _wide(values: Float[Tensor, " m"]) -> Float[Tensor, "m 1 1 1"]:
    return values[:, None, None, None]
