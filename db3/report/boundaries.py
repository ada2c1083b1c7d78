"""How near the search came: distances by class, by queries, and what each pair asked. All in passes over row blocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int

from db3.report.run import Run

_BLOCK = 1 << 22  # values read at a time, per array


@dataclass(frozen=True)
class ClassDistances:
    """Means by class.

    Attributes:
        mean: [K, K], row m, column k: mean finite d_k over the samples decided m; NaN where there is none.
        samples: [K], samples decided as each class.
        pairs: searched pairs (sample, other class).
        unreached: pairs whose class was never reached.
    """

    mean: Float[np.ndarray, "k k"]
    samples: Int[np.ndarray, " k"]
    pairs: int
    unreached: int

    @property
    def walls(self) -> int:
        """Cells of `mean` whose class was reached by none of the row's samples."""
        off = ~np.eye(len(self.mean), dtype=bool) & (self.samples > 0)[:, None]
        return int((np.isnan(self.mean) & off).sum())


def class_distances(run: Run) -> ClassDistances:
    """Mean boundary distance for each decision and other class; +inf (unreached) is counted, never averaged."""
    classes = run.classes
    total, reached = np.zeros((classes, classes)), np.zeros((classes, classes), dtype=np.int64)
    for rows in _blocks(run):
        decided, distances = np.asarray(run.decisions[rows]), np.asarray(run.distances[rows], dtype=np.float64)
        finite = np.isfinite(distances)
        np.add.at(total, decided, np.where(finite, distances, 0))
        np.add.at(reached, decided, finite.astype(np.int64))
    samples = np.bincount(np.asarray(run.decisions), minlength=classes)
    np.fill_diagonal(reached, 0)
    pairs = len(run.decisions) * (classes - 1)
    mean = np.divide(total, reached, out=np.full_like(total, np.nan), where=reached > 0)
    return ClassDistances(mean, samples, pairs, pairs - int(reached.sum()))


@dataclass(frozen=True)
class Descent:
    """Mean distance after so many queries a pair, over the pairs reached by the first point, and the share reached."""

    queries: float
    distance: float
    reached: float


def descent(run: Run) -> list[Descent]:
    """Points of mean boundary distance against queries per pair: the checkpoints, then the end of the search.

    Every point averages the same pairs (those reached by the first point), so that hard pairs reached late do not make
    a later point look worse. Checkpoints by which no pair was reached are left out.
    """
    if run.distances_at is None:
        return []
    marks = [float(mark) for mark in run.search.checkpoints][: len(run.distances_at)]
    ends = max([float(run.search.budget), *marks], default=0.0)
    steps = (
        [*enumerate(marks), (None, ends)] if not marks or ends > marks[-1] else [*enumerate(marks[:-1]), (None, ends)]
    )
    shares = [_reached(run, index) for index, _ in steps]
    kept = [(index, mark, share) for (index, mark), share in zip(steps, shares, strict=True) if share > 0 and mark > 0]
    if len(kept) < 2:
        return []
    means = _common_means(run, [index for index, _, _ in kept])
    return [Descent(mark, mean, share) for (_, mark, share), mean in zip(kept, means, strict=bool(means))]


def _known(run: Run, index: int | None, rows: slice) -> Float[np.ndarray, "b k"]:
    source = run.distances if index is None or run.distances_at is None else run.distances_at[index]
    return np.asarray(source[rows])


def _reached(run: Run, index: int | None) -> float:
    found = sum(int((np.isfinite(_known(run, index, rows)) & _others(run, rows)).sum()) for rows in _blocks(run))
    return found / max(1, len(run.decisions) * (run.classes - 1))


def _common_means(run: Run, indices: list[int | None]) -> list[float]:
    sums, count = np.zeros(len(indices)), 0
    for rows in _blocks(run):
        known = [_known(run, index, rows) for index in indices]
        common = np.logical_and.reduce([np.isfinite(values) for values in known]) & _others(run, rows)
        sums += [float(values[common].astype(np.float64).sum()) for values in known]
        count += int(common.sum())
    return [float(total / count) for total in sums] if count else []


def _others(run: Run, rows: slice) -> Bool[np.ndarray, "b k"]:
    """Marks the searched pairs: every class but the decision."""
    others: Bool[np.ndarray, "b k"] = np.asarray(run.decisions[rows])[:, None] != np.arange(run.classes)
    return others


@dataclass(frozen=True)
class Asked:
    """A histogram of queries asked per pair: `counts[i]` pairs asked `edges[i]` ≤ q < `edges[i + 1]`."""

    edges: list[int]
    counts: list[int]
    mean: float


def asked_histogram(run: Run, bins: int = 20) -> Asked | None:
    """Queries asked per pair; None when every pair asked the same number, which needs no picture."""
    tally = np.zeros(1, dtype=np.int64)
    for rows in _blocks(run):
        part = np.bincount(np.asarray(run.asked[rows])[_others(run, rows)])
        tally = np.pad(tally, (0, max(0, len(part) - len(tally))))
        tally[: len(part)] += part
    used = np.flatnonzero(tally)
    if len(used) < 2:
        return None
    low, high = int(used[0]), int(used[-1])
    width = -(-(high - low + 1) // bins)
    edges = list(range(low, high + width + 1, width))
    counts = [int(tally[a:b].sum()) for a, b in pairwise(edges)]
    return Asked(edges, counts, float((tally * np.arange(len(tally))).sum() / tally.sum()))


def _blocks(run: Run) -> Iterator[slice]:
    step = max(1, _BLOCK // run.classes)
    return (slice(start, start + step) for start in range(0, len(run.decisions), step))
