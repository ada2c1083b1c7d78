"""What made objects are drawn with: a colour, and the cover of an ellipse, a box or a diamond with a soft rim."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from db3.arithmetic.functions import sqrt
from db3.images.smooth import sigmoid

Plane = Float[Tensor, "m h w"]
_SPREAD = 0.2  # of an object's colour


class Body(NamedTuple):
    """What an object's other parts are placed and painted by; one value for each of m images.

    Attributes:
        x, y: the middle, in half sides of the picture.
        size: geometric mean of its half width and half height, in half sides.
        stretch: width over height.
        sharp: of all rims.
        grain: gain of the texture.
        drawn: the uniform numbers that its colour is made of.
    """

    x: Float[Tensor, " m"]
    y: Float[Tensor, " m"]
    size: Float[Tensor, " m"]
    stretch: Float[Tensor, " m"]
    sharp: Float[Tensor, " m"]
    grain: Float[Tensor, " m"]
    drawn: Float[Tensor, "m d"]

    def level(self, channels: int) -> Float[Tensor, "m c"]:
        """Its colour."""
        return colour(self.drawn, channels, _SPREAD)

    @property
    def width(self) -> Float[Tensor, " m"]:
        """Half of it."""
        return self.size * sqrt(self.stretch)

    @property
    def height(self) -> Float[Tensor, " m"]:
        """Half of it."""
        return self.size / sqrt(self.stretch)


def cover(
    u: Plane, v: Plane, size: Float[Tensor, " m"], kind: Float[Tensor, " m"], sharp: Float[Tensor, " m"]
) -> Float[Tensor, "m 1 h w"]:
    """1 within and 0 beyond a soft rim, which is 1 away from its middle, (0, 0).

    Args:
        u: each pixel's place across the shape, in its own coordinates.
        v: likewise, down.
        size: of the shape, in half sides: a rim is as many pixels soft on a small one as on a large one.
        kind: below 0.55 an ellipse, below 0.9 a box, a diamond from there on.
        sharp: of the rim.
    """
    across, down, which = u.abs(), v.abs(), over(kind)
    straight = torch.where(which < 0.9, torch.maximum(across, down), across + down)
    distance = torch.where(which < 0.55, sqrt(u * u + v * v), straight)
    return sigmoid(over(sharp * size) * (1 - distance) * 4)[:, None]


def colour(drawn: Float[Tensor, "m d"], channels: int, spread: float) -> Float[Tensor, "m c"]:
    """A brightness, most often a middling one, and what each channel differs from it by."""
    brightness = 0.5 + 0.45 * (drawn[:, :1] + drawn[:, 1:2] - 1)
    return brightness + spread * (2 * drawn[:, 2 : 2 + channels] - 1)


def over(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n 1 1"]:
    """The same value for all pixels of a plane."""
    return values[..., None, None]


def wide(values: Float[Tensor, " m"]) -> Float[Tensor, "m 1 1 1"]:
    """The same value for all channels and pixels of an image."""
    return values[:, None, None, None]
