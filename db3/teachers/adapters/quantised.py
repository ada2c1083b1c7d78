"""Quantised: a teacher behind an interface of uint8 pixels sees every image rounded to 1/255."""

from jaxtyping import Float, Int
from torch import Tensor

from db3.teachers.base import Teacher


def rounded(images: Float[Tensor, "*n"], bounds: tuple[float, float], levels: int) -> Float[Tensor, "*n"]:
    """Images at the nearest of `levels` evenly spaced pixel values; 0 levels: as they are.

    Divided, not multiplied by a reciprocal: on [0, 1] with 256 levels the same float32 as a stored pixel's uint8 / 255.
    """
    if not levels:
        return images
    low, high = bounds
    return levels_of(images, bounds, levels) / (levels - 1) * (high - low) + low


def levels_of(images: Float[Tensor, "*n"], bounds: tuple[float, float], levels: int) -> Float[Tensor, "*n"]:
    """The number of each pixel's nearest level, 0 … levels − 1."""
    low, high = bounds
    return ((images - low) * ((levels - 1) / (high - low))).round()


class Quantised:
    """Round every image to the levels that `spec.levels` names before it is asked.

    A search that knows the levels asks rounded images already (`db3.search.ledger.Search`), so that its distances
    are those of the image decided; this wrapper holds every other caller to the same.
    """

    def __init__(self, teacher: Teacher) -> None:
        self._teacher, self.spec = teacher, teacher.spec

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        return self._teacher.decide(rounded(images, self.spec.bounds, self.spec.levels))
