"""A variant: one way of training a student, as data.

All variants of a comparison share the number of optimiser steps, so that a difference is due to what the student
learns from. A variant says what that is, what it cost, and whether a black box offers it.
"""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from db3.settings.training import VariantSettings
from db3.soft_labels import TransferSet
from db3.training.examples import Examples, Group, Parents, smoothed
from db3.training.train import TrainSettings

_Part = TypeVar("_Part", "Variant", Group)
_MAPPINGS = {
    "margin": "boundary distances, margin mapping",
    "inverse": "boundary distances, paper's inverse mapping",
    "hard": "decisions",
}


@dataclass(frozen=True)
class Variant:
    """One way to train a student.

    Attributes:
        name: short, as in files and metrics: `student`, `hard`, `student@100` …
        title: for people, as in the report.
        examples: what the student learns from.
        ce, kl, temperature: of `student_loss`.
        queries_per_sample: images sent to the teacher per original sample, the sample itself included.
        black_box: whether a teacher that tells only decisions suffices.
        groups: further examples, with their share of every batch.
        parents: int64 [N] or [N, p], the samples that each example descends from; None: example i is sample i.
    """

    name: str
    title: str
    examples: Examples
    ce: float
    kl: float
    temperature: float
    queries_per_sample: float
    black_box: bool = True
    groups: tuple[Group, ...] = ()
    parents: Parents | None = None

    def settings(self, common: TrainSettings) -> TrainSettings:
        """The settings all variants share, with this variant's own loss."""
        return replace(common, ce=self.ce, kl=self.kl, temperature=self.temperature)


def student_variant(
    transfer: TransferSet,
    queries_per_sample: float,
    *,
    name: str = "student",
    title: str | None = None,
    ce: float = 0.0,
    kl: float = 1.0,
    smoothing: float = 0.0,
    starts: Int64[np.ndarray, "n k q"] | None = None,
) -> Variant:
    """The student of a transfer set: the samples, and a group of each batch for what the set holds beside them.

    Args:
        transfer: what it learns from.
        queries_per_sample: see `Variant`.
        name: see `Variant`.
        title: see `Variant`; None: what the set holds, in words.
        ce: weight of the cross-entropy with the decision, beside soft labels; bare decisions have nothing else.
        kl: weight of the divergence from the soft labels.
        smoothing: mass of bare decisions, of samples and images asked, that is spread over all classes.
        starts: of each pair's search, which what it asked descends from too; see `nearest_starts`.
    """
    bare, temperature = transfer.recipe.mapping == "hard", transfer.recipe.temperature
    examples = Examples(transfer.images, transfer.decisions, None if bare else transfer.soft_labels)
    ce, kl = (1.0, 0.0) if bare else (ce, kl)
    title = _title(transfer) if title is None else title
    variant = Variant(name, title, examples, ce, kl, temperature, queries_per_sample, groups=_groups(transfer, starts))
    return _smoothed(variant, transfer.classes, smoothing) if smoothing else variant


def terms_of(settings: VariantSettings) -> dict[str, Any]:
    """What of a run's settings is the student's own, at each point of its curve: arguments of `student_variant`."""
    return {**vars(settings.weights), "smoothing": settings.smoothing}


def _smoothed(variant: Variant, classes: int, share: float) -> Variant:
    """With soft labels in place of bare decisions."""

    def soft(examples: Examples) -> Examples:
        return Examples(examples.images, examples.decisions, smoothed(examples.decisions, classes, share))

    def softly(part: _Part) -> _Part:
        if part.examples.soft_labels is not None:  # softened by whoever made them
            return part
        return replace(part, examples=soft(part.examples), ce=0.0, kl=1.0)

    return softly(replace(variant, groups=tuple(softly(group) for group in variant.groups)))


def _title(transfer: TransferSet) -> str:
    points = ["boundary points"] if transfer.boundary_points else []
    return " and ".join(
        [_MAPPINGS[transfer.recipe.mapping], *points, *(["images asked"] if transfer.queried_images else [])]
    )


def _groups(transfer: TransferSet, starts: Int64[np.ndarray, "n k q"] | None) -> tuple[Group, ...]:
    groups, recipe = [], transfer.recipe
    if (points := transfer.boundary_points) is not None and points.soft_labels is not None:
        labels, parents = points.soft_labels, _parents(points.pairs, starts, None)
        share, temperature = recipe.boundary_points, recipe.temperature
        groups.append(boundary_points(points.images, points.pairs, labels, share, temperature, parents))
    if (queried := transfer.queried_images) is not None:
        parents = _parents(queried.keys[:, :2], starts, queried.partners)
        groups.append(queried_images(queried.images, queried.decisions, parents, recipe.queried_images))
    return tuple(groups)


def _parents(
    pairs: Int64[np.ndarray, "m 2"], starts: Int64[np.ndarray, "n k q"] | None, partners: Int64[np.ndarray, " m"] | None
) -> Parents:
    """The samples that what was asked of each pair descends from, or that were varied."""
    samples: Parents = pairs[:, 0].copy()
    if starts is None:
        return samples if partners is None else np.column_stack([samples, partners])
    of_pairs = starts[samples, np.maximum(pairs[:, 1], 0)]
    if partners is None:
        return np.column_stack([samples, of_pairs])
    return np.column_stack([samples, np.where(partners[:, None] < 0, of_pairs, partners[:, None])])


def boundary_points(
    points: UInt8[np.ndarray, "p c h w"],
    pairs: Int64[np.ndarray, "p 2"],
    labels: Float32[np.ndarray, "p k"],
    share: float,
    temperature: float,
    parents: Parents | None = None,
) -> Group:
    """Boundary points as a group: soft labels alone, since a point on the boundary has no decision to speak of.

    Args:
        points: the nearest image known of each pair.
        pairs: (sample, class k) of each.
        labels: see `db3.soft_labels.boundary_points.boundary_point_labels`.
        share: of each batch.
        temperature: the student's in that divergence; that of the samples' own labels where both are of one β.
        parents: the samples that each descends from; None: that of its pair.
    """
    examples = Examples(points, pairs[:, 1].copy(), labels)
    return Group(
        "boundary_points", examples, share, 0.0, 1.0, temperature, pairs[:, 0].copy() if parents is None else parents
    )


def queried_images(
    images: UInt8[np.ndarray, "a c h w"],
    decisions: Int64[np.ndarray, " a"],
    parents: Parents,
    share: float,
) -> Group:
    """Every image that a search asked, with its decision, as a group."""
    return Group("queried_images", Examples(images, decisions), share, parents=parents)
