"""The transfer set: the samples with their soft labels, and what boundary searches left beside them.

Both the pipeline's stage soft_labels and the benchmarks build it here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Float32, Int, Int64, UInt8

from db3.errors import DataError
from db3.soft_labels.auto import Recipe
from db3.soft_labels.boundary_points import boundary_point_labels
from db3.soft_labels.build import soft_labels

_Kept = TypeVar("_Kept")
_POINTS = ("boundary_points", "boundary_points_pairs", "boundary_points_soft_labels")
_QUERIED = ("queried_images", "queried_decisions", "queried_keys")


@dataclass(frozen=True)
class BoundaryPoints:
    """Boundary points: the nearest image known of each pair that was reached.

    Attributes:
        images: the points.
        pairs: (sample, class k) of each.
        soft_labels: of each; None as long as they have none.
    """

    images: UInt8[np.ndarray, "p c h w"]
    pairs: Int64[np.ndarray, "p 2"]
    soft_labels: Float32[np.ndarray, "p k"] | None = None


@dataclass(frozen=True)
class QueriedImages:
    """Images that searches asked, variations that were asked beside them, and the decisions on all of these.

    Attributes:
        images: as asked, in the order of (sample, class, place).
        decisions: the teacher's.
        keys: (sample, class, place among the pair's queries) of each; of a variation, which belongs to no pair,
            (sample, −1, turn).
        partners: the other sample that a variation descends from, −1 of what a search asked; None: no variations.
    """

    images: UInt8[np.ndarray, "a c h w"]
    decisions: Int64[np.ndarray, " a"]
    keys: Int64[np.ndarray, "a 3"]
    partners: Int64[np.ndarray, " a"] | None = None

    @classmethod
    def unpacked(
        cls, images: UInt8[np.ndarray, "a c h w"], decisions: Int64[np.ndarray, " a"], keys: Int64[np.ndarray, "a 3"]
    ) -> "QueriedImages":
        """Those whose `packed_keys` these are."""
        return cls(images, decisions, *unpack_keys(keys))

    @property
    def packed_keys(self) -> Int64[np.ndarray, "a 3"]:
        """Keys and partners as one array, as files hold them: of a variation (sample, −1 − other sample, turn)."""
        return self.keys if self.partners is None else pack_keys(self.keys, self.partners)

    def chosen(self, rows: Int64[np.ndarray, " r"]) -> "QueriedImages":
        """Those in these places."""
        partners = None if self.partners is None else self.partners[rows]
        return QueriedImages(self.images[rows], self.decisions[rows], self.keys[rows], partners)


def pack_keys(keys: Int64[np.ndarray, "a 3"], partners: Int64[np.ndarray, " a"]) -> Int64[np.ndarray, "a 3"]:
    """Keys and partners as one array: of a variation (sample, −1 − other sample, turn)."""
    return np.column_stack([keys[:, 0], np.where(partners < 0, keys[:, 1], -1 - partners), keys[:, 2]])


def unpack_keys(packed: Int64[np.ndarray, "a 3"]) -> tuple[Int64[np.ndarray, "a 3"], Int64[np.ndarray, " a"] | None]:
    """Keys and partners that `pack_keys` made one array of; no partners where there are no variations."""
    varied = packed[:, 1] < 0
    if not varied.any():
        return packed, None
    keys = np.column_stack([packed[:, 0], packed[:, 1].clip(min=-1), packed[:, 2]])
    return keys, np.where(varied, -1 - packed[:, 1], -1)


@dataclass(frozen=True)
class SearchedSamples:
    """The samples and all that their searches left behind; what was not kept is None.

    Attributes:
        images: the samples.
        decisions: m, the teacher's on each.
        distances: d_k of each, 0 at the decision, +inf where class k was not reached.
        boundary_points: the points found.
        queried_images: the images asked.
    """

    images: UInt8[np.ndarray, "n c h w"]
    decisions: Int64[np.ndarray, " n"]
    distances: Float[np.ndarray, "n k"]
    boundary_points: BoundaryPoints | None = None
    queried_images: QueriedImages | None = None


@dataclass(frozen=True)
class TransferSet:
    """What a student learns from; images may be memory-mapped.

    Attributes:
        recipe: how it was made.
        scale: of the mapping, β of `margin` and τ of `inverse`; None of `hard`.
        images: the samples.
        decisions: m, the teacher's on each.
        soft_labels: of each; the bare decisions where the mapping is `hard`.
        boundary_points: with their soft labels; None where the recipe takes none or none was found.
        queried_images: likewise.
    """

    recipe: Recipe
    scale: float | None
    images: UInt8[np.ndarray, "n c h w"]
    decisions: Int64[np.ndarray, " n"]
    soft_labels: Float32[np.ndarray, "n k"]
    boundary_points: BoundaryPoints | None = None
    queried_images: QueriedImages | None = None

    @property
    def classes(self) -> int:
        """K."""
        return int(self.soft_labels.shape[1])

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Every array by the name of its file; the transfer set's digest is theirs."""
        arrays: dict[str, Any] = {
            "images": self.images,
            "decisions": self.decisions,
            "soft_labels": self.soft_labels,
        }
        if (points := self.boundary_points) is not None:
            arrays |= dict(zip(_POINTS, (points.images, points.pairs, points.soft_labels), strict=True))
        if (queried := self.queried_images) is not None:
            arrays |= dict(zip(_QUERIED, (queried.images, queried.decisions, queried.packed_keys), strict=True))
        return arrays

    @classmethod
    def from_arrays(cls, recipe: Recipe, scale: float | None, arrays: Mapping[str, npt.NDArray[Any]]) -> "TransferSet":
        """The set whose `arrays()` these are."""
        return cls(
            recipe,
            scale,
            arrays["images"],
            arrays["decisions"],
            arrays["soft_labels"],
            BoundaryPoints(*(arrays[name] for name in _POINTS)) if _POINTS[0] in arrays else None,
            QueriedImages.unpacked(*(arrays[name] for name in _QUERIED)) if _QUERIED[0] in arrays else None,
        )


def build_transfer_set(samples: SearchedSamples, recipe: Recipe, scale: float | None = None) -> TransferSet:
    """The transfer set that a recipe makes of searched samples.

    Args:
        samples: and what their searches left behind.
        recipe: what becomes of it.
        scale: β of `margin`, τ of `inverse`; None: by the recipe's gap.

    Raises:
        DataError: the recipe takes boundary points or queried images that the searches did not keep.
    """
    labels, scale = label_samples(recipe, samples.distances, samples.decisions, scale)
    points = queried = None
    if recipe.boundary_points:
        points = _labelled(_kept(samples.boundary_points, "boundary points"), samples, recipe, scale)
    if recipe.queried_images:
        queried = _kept(samples.queried_images, "queried images")
    return TransferSet(
        recipe,
        scale,
        samples.images,
        samples.decisions,
        labels,
        points if points is not None and len(points.images) else None,
        queried if queried is not None and len(queried.images) else None,
    )


def label_samples(
    recipe: Recipe,
    distances: Float[np.ndarray, "n k"],
    decisions: Int64[np.ndarray, " n"],
    scale: float | None = None,
) -> tuple[Float32[np.ndarray, "n k"], float | None]:
    """Labels of the samples themselves and the scale used; of `hard` the bare decisions and None."""
    if recipe.mapping == "hard":
        return np.eye(distances.shape[1], dtype=np.float32)[decisions], None
    return soft_labels(recipe.mapping, distances, decisions, scale, recipe.gap)


def transfer_set_at(
    transfer: TransferSet,
    queries: int,
    asked: Int[np.ndarray, "n k"],
    distances: Float[np.ndarray, "n k"],
    scale: float | None = None,
) -> TransferSet:
    """The set as it would be had each pair stopped after so many queries.

    Variations belong to no pair and stay. Of boundary points only those stay whose search had ended by then: where the
    others' points stood is not kept.

    Args:
        transfer: the whole set.
        queries: of each pair.
        asked: queries that each pair asked in all.
        distances: the best known after `queries`.
        scale: as of `build_transfer_set`.
    """
    labels, scale = label_samples(transfer.recipe, distances, transfer.decisions, scale)
    points, queried = transfer.boundary_points, transfer.queried_images
    if points is not None and points.soft_labels is not None:
        rows = np.flatnonzero(asked[points.pairs[:, 0], points.pairs[:, 1]] <= queries)
        points = (
            BoundaryPoints(points.images[rows], points.pairs[rows], points.soft_labels[rows]) if len(rows) else None
        )
    if queried is not None:
        rows = np.flatnonzero((queried.keys[:, 1] < 0) | (queried.keys[:, 2] < queries))
        queried = queried.chosen(rows) if len(rows) else None
    return replace(transfer, soft_labels=labels, scale=scale, boundary_points=points, queried_images=queried)


def add_variations(
    queried: QueriedImages,
    images: UInt8[np.ndarray, "v c h w"],
    decisions: Int64[np.ndarray, " v"],
    keys: Int64[np.ndarray, "v 3"],
) -> QueriedImages:
    """What was asked, augmented images of the samples included.

    Args:
        queried: what the searches asked.
        images: the augmented ones.
        decisions: the teacher's on these.
        keys: (sample, other sample, turn) of each, see `db3.images.augmented.augmented_keys`.
    """
    own = np.column_stack([keys[:, 0], np.full(len(keys), -1), keys[:, 2]])
    return QueriedImages(
        np.concatenate([queried.images, images]),
        np.concatenate([queried.decisions, decisions]),
        np.concatenate([queried.keys, own]),
        np.concatenate([np.full(len(queried.keys), -1), keys[:, 1]]),
    )


def _labelled(points: BoundaryPoints, samples: SearchedSamples, recipe: Recipe, scale: float | None) -> BoundaryPoints:
    """With labels of the samples' own scale, so that the two agree."""
    beta = scale if recipe.mapping == "margin" else None
    labels = boundary_point_labels(samples.distances, samples.decisions, points.pairs, beta, recipe.smoothing)
    return replace(points, soft_labels=labels)


def _kept(what: _Kept | None, name: str) -> _Kept:
    if what is None:
        raise DataError(f"the recipe takes {name}, but the search kept none: keep them, or take another recipe")
    return what
