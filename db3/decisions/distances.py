"""Boundary distances of some samples: the block of pairs, the method chosen, the driver, the answers kept."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Int32, Int64, UInt8

from db3.decisions.bd import boundary_distance
from db3.decisions.driver import drive, replay
from db3.decisions.mbd import minimal_boundary_distance
from db3.decisions.sd import sample_distance
from db3.decisions.search import Asks, Pairs, Search
from db3.decisions.starts import nearest_starts
from db3.errors import DataError
from db3.teachers.base import Teacher, TeacherSpec

# Both bound memory. Results do not depend on them; the order of the journal does.
_PAIRS_PER_SEARCH = 256
_VALUES_PER_ASK = 2**23  # pixels of one ask: 32 MiB as float32


@dataclass(frozen=True)
class Method:
    """How distances are searched; the fields are those of the parameter group `query`."""

    name: Literal["sd", "bd", "mbd"]
    budget: int = 100
    starts: int = 1
    tolerance: float = 0.01
    directions: int = 20
    smoothing: float = 0.1
    step: float = 0.2
    cell: int = 1
    checkpoints: tuple[int, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Distances:
    """What the searches found for r samples.

    Attributes:
        distances: d_k, 0 at the decision, +inf where class k was not reached.
        asked: queries of each pair.
        at: the distance known after `checkpoints[t]` queries.
        answers: the teacher's answers, search by search in the order asked: the journal of these samples.
    """

    distances: Float32[np.ndarray, "r k"]
    asked: Int32[np.ndarray, "r k"]
    at: Float32[np.ndarray, "t r k"]
    answers: Int64[np.ndarray, " a"]


@dataclass(frozen=True)
class TransferImages:
    """All samples of the transfer set with the teacher's decisions: the pool of start samples (may be mapped)."""

    images: UInt8[np.ndarray, "n c h w"]
    decisions: Int64[np.ndarray, " n"]


def search_distances(
    teacher: Teacher,
    pool: TransferImages,
    rows: range,
    method: Method,
    on_asked: Callable[[int], None] | None = None,
) -> Distances:
    """Search the boundary distances of the samples `rows` of the pool.

    A pair's result depends on (seed, sample, class, answers) alone, so any cut into rows gives the same numbers.

    Raises:
        DataError: the pool's images are of another shape than the teacher's, or its bounds are not [0, 1].
    """
    blocks = _Blocks(teacher.spec, pool, rows, method)
    answers = drive(blocks.asks(), teacher, on_asked=on_asked)
    return blocks.collect(torch.cat(answers).numpy() if answers else np.empty(0, np.int64))


def replay_distances(
    spec: TeacherSpec, pool: TransferImages, rows: range, method: Method, journal: np.ndarray
) -> Distances:
    """The same from a journal instead of a teacher.

    Raises:
        ValueError: the journal belongs to other samples or another method.
    """
    blocks = _Blocks(spec, pool, rows, method)
    rest = torch.from_numpy(journal.astype(np.int64))
    for asks in blocks.asks():
        rest = rest[replay(asks, rest) :]
    if len(rest):
        raise ValueError(f"the journal holds {len(rest)} answers more than the searches of samples {rows} ask for")
    return blocks.collect(journal.astype(np.int64))


class _Blocks:
    """The searches of some samples, a block of pairs each: begun one by one, only their results kept."""

    def __init__(self, spec: TeacherSpec, pool: TransferImages, rows: range, method: Method) -> None:
        _check(spec, pool)
        self._spec, self._pool, self._rows, self._method = spec, pool, rows, method
        decisions = pool.decisions[rows.start : rows.stop]
        self._row, self._class = np.nonzero(np.arange(spec.classes) != decisions[:, None])
        shape = (len(rows), spec.classes)
        self._distances = np.full(shape, np.inf, np.float32)
        self._distances[np.arange(len(rows)), decisions] = 0
        self._asked = np.zeros(shape, np.int32)
        self._at = np.repeat(self._distances[None], len(method.checkpoints), axis=0)

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
        search = Search(self._pairs(row, k), self._method.budget, self._method.checkpoints)
        points = torch.from_numpy(self._pool.images[chosen.clip(min=0)].reshape(*chosen.shape, -1)).float() / 255
        points[torch.from_numpy(chosen < 0)] = torch.nan
        yield from _asks(search, points, self._method)
        self._distances[row, k], self._asked[row, k] = search.distance.numpy(), search.asked.numpy()
        self._at[:, row, k] = search.curve.T.numpy()

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
        return Distances(self._distances, self._asked, self._at, answers)


def _check(spec: TeacherSpec, pool: TransferImages) -> None:
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


def _asks(search: Search, starts: torch.Tensor, method: Method) -> Asks:
    """SD knows its distances at once; BD bisects from there; MBD goes on where BD ends."""
    if method.name == "sd":
        sample_distance(search, starts)
        return
    yield from boundary_distance(search, starts, method.tolerance)
    if method.name == "mbd":
        yield from minimal_boundary_distance(
            search,
            seed=method.seed,
            directions=method.directions,
            smoothing=method.smoothing,
            step=method.step,
            tolerance=method.tolerance,
            cell=method.cell,
        )
