"""Analytic teachers: decision regions so simple that every boundary distance has a closed form.

A search can be held against them: no distance it finds may be below `distance(images, target)`, the L2 distance from an
image to the region of a class, and with enough queries it comes near. That distance is to the closed region in the
whole of R^D: it ignores the bounds of the pixels, so where the nearest point lies outside [0, 1] it is a lower bound.

Everything is computed in float64 with sums in a fixed order, so an answer is a function of its image alone.
"""

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from db3.arithmetic.sums import row_norm, row_sum
from db3.digest import digest_array, digest_json
from db3.teachers.base import ImageShape, TeacherSpec


@dataclass(frozen=True, eq=False, repr=False)
class Analytic(ABC):
    """What the analytic teachers share: pixels in [0, 1], a call shape, an identity made of their numbers.

    Args:
        max_batch: rows of the call shape. It changes no answer.
    """

    max_batch: int = field(default=64, kw_only=True)

    @cached_property
    def spec(self) -> TeacherSpec:
        shape, classes, tensors = self._parts()
        digests = [digest_array(tensor.numpy()) for tensor in tensors]
        identity = digest_json([type(self).__name__, list(shape), classes, self.max_batch, digests])
        return TeacherSpec(shape, (0.0, 1.0), classes, self.max_batch, identity)

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """The class whose region holds each image."""
        return self._decide(images.double().flatten(1))

    def distance(self, images: Float[Tensor, "n c h w"], target: int) -> Float64[Tensor, " n"]:
        """L2 distance from each image to the region of class `target`; 0 inside it.

        Raises:
            ValueError: there is no such class.
        """
        if not 0 <= target < self.spec.classes:
            raise ValueError(f"class {target} is unknown; expected 0 … {self.spec.classes - 1}")
        return self._distance(images.double().flatten(1), target)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.spec})"

    @abstractmethod
    def _parts(self) -> tuple[ImageShape, int, list[Tensor]]:
        """Image shape, number of classes, and the tensors that decide."""

    @abstractmethod
    def _decide(self, points: Float64[Tensor, "n d"]) -> Int[Tensor, " n"]: ...

    @abstractmethod
    def _distance(self, points: Float64[Tensor, "n d"], target: int) -> Float64[Tensor, " n"]: ...


@dataclass(frozen=True, eq=False, repr=False)
class HalfSpace(Analytic):
    """Two classes, one plane: class 1 where ⟨normal, x⟩ > offset.

    Args:
        normal: [C, H, W], of any length above 0.
        offset: in the unit of ⟨normal, x⟩.
    """

    normal: Float[Tensor, "c h w"]
    offset: float

    def _parts(self) -> tuple[ImageShape, int, list[Tensor]]:
        return _shape(self.normal), 2, [self.normal, torch.tensor(self.offset, dtype=torch.float64)]

    def _decide(self, points: Float64[Tensor, "n d"]) -> Int[Tensor, " n"]:
        return (self._height(points) > 0).long()

    def _distance(self, points: Float64[Tensor, "n d"], target: int) -> Float64[Tensor, " n"]:
        height = self._height(points)
        return (-height if target else height).clamp(min=0)

    def _height(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, " n"]:
        """Signed distance above the plane."""
        normal = self.normal.double().flatten()
        return (row_sum(points * normal) - self.offset) / row_norm(normal)


@dataclass(frozen=True, eq=False, repr=False)
class Brightest(Analytic):
    """Several classes, each a polyhedron: the pixels are dealt into K areas, and the brightest area is the class.

    Area k holds the pixels that `areas` numbers k; its score is the pixels' sum over √(their number), i.e. the scores
    are affine (here linear) with orthonormal weights. So distances are those in the space of the K scores, where the
    nearest point at which score k is the greatest has it raised, and those above lowered, to one common level.

    Args:
        areas: int64 [C, H, W], the area of each pixel, 0 … K−1, none of them empty.
    """

    areas: Int[Tensor, "c h w"]

    def _parts(self) -> tuple[ImageShape, int, list[Tensor]]:
        return _shape(self.areas), int(self.areas.max()) + 1, [self.areas]

    def _decide(self, points: Float64[Tensor, "n d"]) -> Int[Tensor, " n"]:
        return self._scores(points).argmax(dim=1)

    def _distance(self, points: Float64[Tensor, "n d"], target: int) -> Float64[Tensor, " n"]:
        scores = self._scores(points)
        own = scores[:, target : target + 1]
        others = torch.cat([scores[:, :target], scores[:, target + 1 :]], dim=1).sort(dim=1, descending=True).values
        # levels[:, j] is the common level when the j highest of the others come down to it; right for the first j at
        # which the next one is not above it.
        levels = torch.cat([own, others], dim=1).cumsum(dim=1) / torch.arange(1, scores.shape[1] + 1)
        beyond = torch.cat([others, torch.full_like(own, -torch.inf)], dim=1)
        level = levels.gather(1, (levels >= beyond).long().argmax(dim=1, keepdim=True))
        lowered = (others - level).clamp(min=0)
        return row_norm(torch.cat([level - own, lowered], dim=1))

    def _scores(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, "n k"]:
        masks = [self.areas.flatten() == k for k in range(int(self.areas.max()) + 1)]
        return torch.stack([row_sum(points[:, mask]) / row_norm(mask.double()) for mask in masks], dim=1)


@dataclass(frozen=True, eq=False, repr=False)
class Shells(Analytic):
    """Concentric shells: the class is the number of radii that are smaller than the distance from the centre.

    Args:
        centre: [C, H, W].
        radii: K−1 of them, rising; one radius makes a sphere, with class 0 inside.
    """

    centre: Float[Tensor, "c h w"]
    radii: tuple[float, ...]

    def __post_init__(self) -> None:
        if any(inner >= outer for inner, outer in itertools.pairwise((0.0, *self.radii))):
            raise ValueError(f"radii are {self.radii}; expected positive ones, rising")

    def _parts(self) -> tuple[ImageShape, int, list[Tensor]]:
        return _shape(self.centre), len(self.radii) + 1, [self.centre, torch.tensor(self.radii, dtype=torch.float64)]

    def _decide(self, points: Float64[Tensor, "n d"]) -> Int[Tensor, " n"]:
        radii = torch.tensor(self.radii, dtype=torch.float64)
        return (self._radius(points)[:, None] > radii).sum(dim=1)

    def _distance(self, points: Float64[Tensor, "n d"], target: int) -> Float64[Tensor, " n"]:
        inner, outer = (0.0, *self.radii, torch.inf)[target : target + 2]
        radius = self._radius(points)
        return torch.maximum(inner - radius, radius - outer).clamp(min=0)

    def _radius(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, " n"]:
        return row_norm(points - self.centre.double().flatten())


@dataclass(frozen=True, eq=False, repr=False)
class Box(Analytic):
    """Two classes: 1 inside the axis-aligned box low ≤ x ≤ high, 0 outside.

    Args:
        low, high: [C, H, W], low < high everywhere.
    """

    low: Float[Tensor, "c h w"]
    high: Float[Tensor, "c h w"]

    def _parts(self) -> tuple[ImageShape, int, list[Tensor]]:
        return _shape(self.low), 2, [self.low, self.high]

    def _decide(self, points: Float64[Tensor, "n d"]) -> Int[Tensor, " n"]:
        low, high = self._faces()
        return ((points >= low) & (points <= high)).all(dim=1).long()

    def _distance(self, points: Float64[Tensor, "n d"], target: int) -> Float64[Tensor, " n"]:
        low, high = self._faces()
        if target == 1:
            return row_norm(points - points.clamp(low, high))
        return torch.minimum(points - low, high - points).amin(dim=1).clamp(min=0)

    def _faces(self) -> tuple[Float64[Tensor, " d"], Float64[Tensor, " d"]]:
        return self.low.double().flatten(), self.high.double().flatten()


def _shape(image: Tensor) -> ImageShape:
    channels, height, width = image.shape
    return channels, height, width
