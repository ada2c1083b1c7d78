"""The searches of some samples as blocks of pairs, and what they find."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int32, Int64, UInt8

from db3.decisions.method import Method, asks_of
from db3.decisions.points import NearestPoints
from db3.decisions.search import Asks, Pairs, Search
from db3.decisions.starts import nearest_starts
from db3.errors import DataError
from db3.teachers.base import TeacherSpec

# Both bound memory. Results do not depend on them; the order of the journal does.
_PAIRS_PER_SEARCH = 256
_VALUES_PER_ASK = 2**23  # pixels of one ask: 32 MiB as float32


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
    """

    distances: Float32[np.ndarray, "r k"]
    asked: Int32[np.ndarray, "r k"]
    at: Float32[np.ndarray, "t r k"]
    answers: Int64[np.ndarray, " a"]
    points: UInt8[np.ndarray, "p c h w"]
    point_pairs: Int64[np.ndarray, "p 2"]


@dataclass(frozen=True)
class TransferImages:
    """All samples of the transfer set with the teacher's decisions: the pool of start samples (may be mapped)."""

    images: UInt8[np.ndarray, "n c h w"]
    decisions: Int64[np.ndarray, " n"]


class Blocks:
    """The searches of r samples, a block of pairs each: begun one by one, only their results kept.

    Args:
        spec: of the teacher.
        pool: all samples.
        rows: the samples to search.
        method: how.

    Raises:
        DataError: the pool's images are of another shape than the teacher's, or its bounds are not [0, 1].
    """

    def __init__(self, spec: TeacherSpec, pool: TransferImages, rows: range, method: Method) -> None:
        check_pool(spec, pool)
        self._spec, self._pool, self._rows, self._method = spec, pool, rows, method
        decisions = pool.decisions[rows.start : rows.stop]
        self._row, self._class = np.nonzero(np.arange(spec.classes) != decisions[:, None])
        shape = (len(rows), spec.classes)
        self._distances = np.full(shape, np.inf, np.float32)
        self._distances[np.arange(len(rows)), decisions] = 0
        self._asked = np.zeros(shape, np.int32)
        self._at = np.repeat(self._distances[None], len(method.checkpoints), axis=0)
        self._points = NearestPoints(len(rows), min(method.points, spec.classes - 1), spec.input_shape)

    def asks(self) -> Iterator[Asks]:
        images = self._pool.images[self._rows.start : self._rows.stop]
        nearest, _ = nearest_starts(
            images, self._pool.images, self._pool.decisions, self._spec.classes, self._method.starts
        )
        size = self._pairs_per_search()
        for start in range(0, len(self._row), size):
            row, k = self._row[start : start + size], self._class[start : start + size]
            yield self._search(row, k, nearest[row, k])

    def _pairs_per_search(self) -> int:
        values = int(np.prod(self._spec.input_shape)) * max(self._method.directions, self._method.starts)
        return min(_PAIRS_PER_SEARCH, max(1, _VALUES_PER_ASK // values))

    def _search(
        self, row: Int64[np.ndarray, " n"], k: Int64[np.ndarray, " n"], chosen: Int64[np.ndarray, "n q"]
    ) -> Asks:
        """One block from its first ask to its results; its images live no longer than that."""
        method = self._method
        search = Search(
            self._pairs(row, k), method.budget, method.checkpoints, levels=self._spec.levels, absolute=method.absolute
        )
        starts = torch.from_numpy(self._pool.images[chosen.clip(min=0)].reshape(*chosen.shape, -1)).float() / 255
        starts[torch.from_numpy(chosen < 0)] = torch.nan
        yield from asks_of(search, starts, method)
        self.keep(search, row, k)

    def keep(self, search: Search, row: Int64[np.ndarray, " n"], k: Int64[np.ndarray, " n"]) -> None:
        """Take over what a search has found."""
        distance = search.distance.numpy()
        self._distances[row, k], self._asked[row, k] = distance, search.asked.numpy()
        self._at[:, row, k] = search.curve.T.numpy()
        levels = (search.best * 255).round().to(torch.uint8).numpy()
        self._points.offer(row, k, distance, levels, (search.distance < search.given).numpy())

    def _pairs(self, row: Int64[np.ndarray, " n"], k: Int64[np.ndarray, " n"]) -> Pairs:
        sample = row + self._rows.start
        return Pairs(
            images=torch.from_numpy(self._pool.images[sample].reshape(len(sample), -1)).float() / 255,
            decisions=torch.from_numpy(self._pool.decisions[sample]),
            targets=torch.from_numpy(k),
            samples=torch.from_numpy(sample),
            shape=self._spec.input_shape,
            bounds=self._spec.bounds,
        )

    def collect(self, answers: Int64[np.ndarray, " a"]) -> Distances:
        points, pairs = self._points.flat(self._rows.start)
        return Distances(self._distances, self._asked, self._at, answers, points, pairs)


def check_pool(spec: TeacherSpec, pool: TransferImages) -> None:
    """Refuse a pool and a teacher that do not speak of the same images."""
    if pool.images.shape[1:] != spec.input_shape:
        raise DataError(
            f"the pool's images have the shape {list(pool.images.shape[1:])}, the teacher's {list(spec.input_shape)} "
            "(C, H, W): take the samples that were drawn for this teacher"
        )
    if spec.bounds != (0.0, 1.0):  # pixels are uint8 / 255, and distances are compared in that unit
        raise DataError(
            f"the teacher's bounds are [{spec.bounds[0]:g}, {spec.bounds[1]:g}], but a search asks images in [0, 1]: "
            "scale the pixels inside the adapter"
        )
