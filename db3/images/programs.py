"""Programs: colour pictures that small random programs compute pixel by pixel, drawn without a look at any image.

A picture is a ground with up to two figures upon it. Each of these layers has a program of its own: a few moves of the
place where a pixel looks (turned, bent by noise, folded, tiled, sheared, inverted, rolled into rings), what is found
there (noise, ridges, stripes, rings, checks, shapes, joined by twos), a palette of four kindred colours with soft or
hard steps between them, and light that falls on what was found as on a relief. A figure's outline is an ellipse or a
box that noise has gnawed at, half of them mirrored, and is lit as a dome. Scenes are built of smooth parts; programs
have texture, repetition and ragged outlines, and a teacher decides other classes about them.

As in `scenes`, every operation is element-wise and rounded as IEEE 754 says: an image has the same bits in any batch
and on any machine.

Source of the idea: Baradad et al., "Procedural Image Programs for Representation Learning", NeurIPS 2022; for
distillation Frank and Davis, "What Makes a Good Dataset for Knowledge Distillation?", CVPR 2025. The programs are our
own.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from db3.arithmetic.fields import centres
from db3.arithmetic.functions import sqrt
from db3.images import repeats
from db3.images.draws import draw
from db3.images.program_steps import (
    FIND_DRAWS,
    MOVE_DRAWS,
    Place,
    found,
    looked_up,
    moved,
    smoothstep,
    turned,
)
from db3.images.shapes import Body, Plane, colour, over, wide
from db3.images.smooth import sigmoid, smooth, standardised
from db3.rng import Purpose
from db3.teachers.base import ImageShape

_MOVES, _COLOURS = 3, 4
_NOISE = 4  # fields of noise: two that bend, two that are found
_OWN, _FIGURE = 8, 24  # draws
_BACK, _FLOOR, _LARGE, _SMALL = range(4)  # layers
_THERE = (1.0, 0.5, 0.9, 0.4)  # share of the pictures that have each
_KINDRED, _LIGHTER, _HUE = 0.08, 0.4, 0.06  # how far colours differ: within the first one, in light, by channel
_WARM = 0.2  # and between warm and cold ones


def programs(shape: ImageShape, number: Int64[Tensor, " m"], seed: int) -> Float[Tensor, "m c h w"]:
    """The pictures of these numbers, in [0, 1]."""
    fields = [smooth((_NOISE, *shape[1:]), number, seed, Purpose.PROGRAM_NOISE, which) for which in range(2)]
    grounds, figures = (standardised(field) for field in fields)
    image = torch.zeros(len(number), *shape)
    for layer in (_BACK, _FLOOR, _LARGE, _SMALL):
        noise = grounds if layer in (_BACK, _FLOOR) else figures
        drawn = draw(seed, Purpose.PROGRAM_FIGURE, number, _FIGURE, (layer, 0))
        paint, relief = _painted(shape, number, seed, layer, noise)
        if layer == _LARGE:
            image = _on_legs(shape, number, seed, drawn, noise, image)
        mask, dome = _mask(shape, layer, drawn, noise)
        image = image + mask[:, None] * (paint * _light(relief + dome, drawn) - image)
    return image.clamp(0, 1)


def _painted(
    shape: ImageShape, number: Int64[Tensor, " m"], seed: int, layer: int, noise: Float[Tensor, "m 4 h w"]
) -> tuple[Float[Tensor, "m c h w"], Plane]:
    """What a layer's program computes: its colours, and the relief that light falls on."""
    size = (len(number), *shape[1:])
    place = Place(centres(shape[2]).expand(size), centres(shape[1])[:, None].expand(size))
    for step in range(_MOVES if layer == _BACK else _MOVES - 1):
        place = moved(place, noise, draw(seed, Purpose.PROGRAM_MOVE, number, MOVE_DRAWS, (layer, step)))
    field = found(place, noise, draw(seed, Purpose.PROGRAM_FIND, number, FIND_DRAWS, (layer, 0)))
    own = draw(seed, Purpose.PROGRAM_COLOUR, number, _OWN + (_COLOURS + 1) * (shape[0] + 2), (layer, 0))
    return _palette(shape[0], field, own), field


def _ramp(channels: int) -> Float[Tensor, " c"]:
    """From 1 at the first channel to −1 at the last: from warm to cold, where these are red, green and blue."""
    return centres(channels) * -1 if channels > 1 else torch.zeros(1)


def _mask(
    shape: ImageShape, layer: int, drawn: Float[Tensor, "m d"], noise: Float[Tensor, "m 4 h w"]
) -> tuple[Plane, Plane]:
    """Where a layer lies upon those before, and how high it rises there."""
    size = (len(drawn), *shape[1:])
    flat = torch.zeros(size)
    there = over((drawn[:, 10] < _THERE[layer]).float())
    if layer == _BACK:
        return torch.ones(size), flat
    if layer == _FLOOR:
        tilt, line = over(0.6 * (drawn[:, 0] - 0.5)), over(0.9 * drawn[:, 1] - 0.1)
        away = centres(shape[1])[:, None] + tilt * centres(shape[2]) - line + over(0.1 * drawn[:, 2]) * noise[:, 0]
        return there * sigmoid(over(6 + 40 * drawn[:, 3]) * away), flat
    outline = _outline(shape, drawn, noise, 0.5 if layer == _SMALL else 1.0)
    return there * sigmoid(over(8 + 32 * drawn[:, 8]) * outline), 2 * over(drawn[:, 9]) * sqrt(outline.clamp(0, 1))


def _on_legs(
    shape: ImageShape,
    number: Int64[Tensor, " m"],
    seed: int,
    drawn: Float[Tensor, "m d"],
    noise: Float[Tensor, "m 4 h w"],
    image: Float[Tensor, "m c h w"],
) -> Float[Tensor, "m c h w"]:
    """The picture with what a figure stands on, legs or wheels, where there is a figure."""
    x, y, size, stretch = _frame(drawn, 1.0)
    body = Body(x, y, size, stretch * stretch, 4 + 16 * drawn[:, 16], 0.2 * drawn[:, 17], drawn[:, 16:])
    own = draw(seed, Purpose.PROGRAM_LEGS, number, repeats.DRAWS + shape[0])
    mask, paint = repeats.legs(shape, body, own, noise[:, 2:3].expand(-1, shape[0], -1, -1))
    return image + mask * wide((drawn[:, 10] < _THERE[_LARGE]).float()) * (paint - image)


def _palette(channels: int, field: Plane, own: Float[Tensor, "m d"]) -> Float[Tensor, "m c h w"]:
    """Colours along the field: from one to the next in steps of some softness."""
    at = over(0.5 + 1.5 * own[:, 0]) * field + over(3 * own[:, 1])
    sharp, reach = over(1 + 7 * own[:, 2] * own[:, 3]), over(0.2 + 0.8 * own[:, 4])
    shades = own[:, _OWN:].reshape(len(own), _COLOURS + 1, channels + 2)
    warmth = _WARM * _ramp(channels)
    first = colour(shades[:, 0], channels, _KINDRED) + (own[:, 5:6] + own[:, 6:7] - 1) * warmth
    paint = torch.zeros(())
    for k in range(_COLOURS):
        drawn = shades[:, k + 1]
        differs = _LIGHTER * (drawn[:, :1] + drawn[:, 1:2] - 1) + _HUE * (2 * drawn[:, 2:] - 1)
        differs = differs + (drawn[:, :1] - drawn[:, 1:2]) * 0.5 * warmth
        shade = over(first) + reach[:, None] * over(differs)
        step = smoothstep(sharp * (at - k + 0.5) - (sharp - 1) * 0.5)[:, None]
        paint = paint + step * (shade - paint) if k else shade.expand(-1, -1, *field.shape[1:])
    return paint


def _frame(drawn: Float[Tensor, "m d"], scale: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of a figure: its middle (x, y), its size, and the root of its width over its height."""
    stretch = sqrt(0.5 + 2 * drawn[:, 1] * drawn[:, 1])
    return 0.7 * (drawn[:, 2] - 0.5), 0.6 * (drawn[:, 3] - 0.45), scale * (0.3 + 0.5 * drawn[:, 0]), stretch


def _outline(shape: ImageShape, drawn: Float[Tensor, "m d"], noise: Float[Tensor, "m 4 h w"], scale: float) -> Plane:
    """Above 0 within a figure, 1 in its middle: an ellipse or a box, gnawed at by noise."""
    x, y, size, stretch = (over(value) for value in _frame(drawn, scale))
    tangent = 0.4 * (2 * drawn[:, 4] - 1) * drawn[:, 5]
    frame = turned(Place(centres(shape[2]) - x, centres(shape[1])[:, None] - y), tangent)
    u, v = frame.u / (size * stretch), frame.v * stretch / size
    u = torch.where(over(drawn[:, 6]) < 0.5, u.abs(), u)
    boxed = torch.maximum(u.abs(), v.abs())
    away = torch.where(over(drawn[:, 7]) < 0.6, sqrt(u * u + v * v), boxed)
    gnawed = looked_up(noise[:, :1], Place(u * 0.5, v * 0.5))[:, 0]
    return 1 - away + over(0.4 * drawn[:, 11] * drawn[:, 18]) * gnawed


def _light(relief: Plane, drawn: Float[Tensor, "m d"]) -> Float[Tensor, "m 1 h w"]:
    """How bright each pixel is: as a relief lit from one side, 1 where it is level."""
    steep = over(1.5 * drawn[:, 12] * drawn[:, 13])
    across, down = steep * _slope(relief, 2), steep * _slope(relief, 1)
    side = drawn[:, 14:16] * 2 - 1
    shade = (1 + over(side[:, 0]) * across + over(side[:, 1]) * down) / sqrt(1 + across * across + down * down)
    return shade.clamp(0.3, 1.7)[:, None]


def _slope(field: Plane, axis: int) -> Plane:
    """The difference of the neighbours on either side; at the border, twice that to the one neighbour."""
    size = field.shape[axis]
    before = torch.cat([field.narrow(axis, 0, 1), field.narrow(axis, 0, size - 1)], dim=axis)
    after = torch.cat([field.narrow(axis, 1, size - 1), field.narrow(axis, size - 1, 1)], dim=axis)
    return after - before
