"""From what boundary searches left behind to a variant, by a recipe."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int64, UInt8

from db3.errors import DataError
from db3.soft_labels import Recipe, boundary_point_labels, soft_labels
from db3.students import variants
from db3.students.variants import Variant
from db3.training.examples import Examples, Group

_Kept = TypeVar("_Kept")


@dataclass(frozen=True)
class Points:
    """Boundary points: the nearest image known of each pair that was reached.

    Attributes:
        images: the points.
        pairs: (sample, class k) of each.
    """

    images: UInt8[np.ndarray, "p c h w"]
    pairs: Int64[np.ndarray, "p 2"]


@dataclass(frozen=True)
class QueriedImages:
    """Images that searches asked, and what they were told.

    Attributes:
        images: as asked, in the order of (sample, class, place).
        decisions: the teacher's.
        parents: the sample that each was asked for.
    """

    images: UInt8[np.ndarray, "a c h w"]
    decisions: Int64[np.ndarray, " a"]
    parents: Int64[np.ndarray, " a"]


@dataclass(frozen=True)
class Searched:
    """The samples and all that their searches left behind; what was not kept is None."""

    images: UInt8[np.ndarray, "n c h w"]
    decisions: Int64[np.ndarray, " n"]
    distances: Float[np.ndarray, "n k"]
    points: Points | None = None
    queried_images: QueriedImages | None = None


def searched(name: str, title: str, found: Searched, how: Recipe, queries_per_sample: float) -> Variant:
    """The variant of a recipe.

    Raises:
        DataError: the recipe asks for points or answers that were not kept.
    """
    labels, beta = None, None
    if how.mapping != "hard":
        labels, scale = soft_labels(how.mapping, found.distances, found.decisions, None, how.gap)
        beta = scale if how.mapping == "margin" else None
    groups: list[Group] = []
    if how.boundary_points:
        points = _kept(found.points, "boundary points")
        # Halves say nothing of a scale, so they are learnt at the student's own temperature.
        boundary_point = boundary_point_labels(found.distances, found.decisions, points.pairs, beta, how.smoothing)
        warmth = 1.0 if beta is None else how.temperature
        groups.append(
            variants.boundary_points(
                points.images, points.pairs, boundary_point, how.boundary_points, temperature=warmth
            )
        )
    if how.queried_images:
        told = _kept(found.queried_images, "answers")
        groups.append(variants.queried_images(told.images, told.decisions, told.parents, how.queried_images))
    ce = 1.0 if labels is None else 0.0
    examples = Examples(found.images, found.decisions, labels)
    return variants.soft(
        name, title, examples, queries_per_sample, ce=ce, kl=1 - ce, temperature=how.temperature, groups=tuple(groups)
    )


def _kept(what: _Kept | None, name: str) -> _Kept:
    if what is None:
        raise DataError(f"the recipe takes {name}, but the search kept none: keep them, or take another recipe")
    return what
