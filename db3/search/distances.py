"""What boundary searches find."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt8


@dataclass(frozen=True)
class Distances:
    """What the searches found for r samples.

    Attributes:
        distances: d_k, 0 at the decision, +inf where class k was not reached.
        asked: queries of each pair.
        at: the distance known after `checkpoints[t]` queries.
        answers: the teacher's answers, search by search in the order asked: the journal of these samples.
        points: boundary points of each sample's nearest classes, rounded to uint8: the nearest image known to be
            decided k, where a query found one.
        point_pairs: (sample, class k) of each point.
        queried_images: images asked, at most `SearchSettings.queried_images` of each sample, rounded to uint8.
        queried_decisions: the decision on each.
        queried_keys: (sample, class, place) of each: the pair it was asked for, and its place among that pair's.
        unfinished: pairs that would have asked more, had the teacher not refused: their distances are as far as they
            came.
        starts: the start samples of each pair, nearest first, −1 where there are fewer; q = 0 where nothing is
            searched. See `db3.search.starts.nearest_starts`.
        start_distances: how far away each is, +inf where there is none.
    """

    distances: Float32[np.ndarray, "r k"]
    asked: Int32[np.ndarray, "r k"]
    at: Float32[np.ndarray, "t r k"]
    answers: Int64[np.ndarray, " a"]
    points: UInt8[np.ndarray, "p c h w"]
    point_pairs: Int64[np.ndarray, "p 2"]
    queried_images: UInt8[np.ndarray, "m c h w"]
    queried_decisions: Int64[np.ndarray, " m"]
    queried_keys: Int64[np.ndarray, "m 3"]
    unfinished: Bool[np.ndarray, "r k"]
    starts: Int64[np.ndarray, "r k q"]
    start_distances: Float32[np.ndarray, "r k q"]


class DistanceParts:
    """What the searches found, part by part of the samples; a part is read anew whenever it is looked at.

    Attributes:
        synthetic_answers: answers to the images that surrogates made before the search began, in the order asked; the
            pairs' own are in each part's `answers`.
    """

    def __init__(
        self, count: int, read: Callable[[int], Distances], synthetic_answers: Int64[np.ndarray, " s"] | None = None
    ) -> None:
        self._count, self._read = count, read
        self.synthetic_answers = np.empty(0, np.int64) if synthetic_answers is None else synthetic_answers

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Distances]:
        return (self[index] for index in range(self._count))

    def __getitem__(self, index: int) -> Distances:
        return self._read(index)
