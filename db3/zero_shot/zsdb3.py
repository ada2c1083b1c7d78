"""ZSDB3: pseudo samples without any data (Wang, ICML 2021, section 4).

Noise images, decided by the teacher and balanced over the classes, are moved away from their nearest decision boundary
again and again, until they lie as deep inside their class as training images do. The paper then treats them as the
training set of its method with data: boundary distances between them, soft labels, a student.

Notes:
    How this differs from the paper is said where it does: start images in `db3.zero_shot.start_images`, the search in
    `db3.search.methods.untargeted`, moves and rounding in `db3.zero_shot.moves`. Every query is counted, first searches
    included; the budget is a hard stop, and each sample has its own part of it, so that no sample's result depends on
    its neighbours, on packing, or on how the samples are cut into rows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32, Int64, UInt8

from db3.errors import ConfigError
from db3.pixels import to_floats
from db3.search.blocks import check_pool
from db3.search.driver import drive
from db3.search.ledger import Asks
from db3.search.starts import nearest_starts
from db3.settings.declare import Ge, Lt, settings, shared
from db3.settings.samples import MoveSettings, SampleSettings
from db3.teachers.base import Teacher, TeacherSpec
from db3.types import TransferImages
from db3.work import Arrays, Run, Work, cut, run_here
from db3.zero_shot.moves import Block, Moved, Moves
from db3.zero_shot.start_images import Source, Starts, check_starts, find_starts

# Both bound memory; results do not depend on them.
_ROWS_PER_BLOCK = 512
_VALUES_PER_BLOCK = 2**24
_ANSWERS = "answers."
_CODE = ("teachers", "networks", "images", "zero_shot", "arithmetic", "rng", "search", "types", "pixels")


@settings
class Zsdb3:
    """How pseudo samples are made.

    Attributes:
        count: samples wanted, in equal shares of all classes.
        budget: queries in all, at most.
        noise: those of them that may look for start images among noise; None: four a sample, a tenth of the budget at
            most, but one a sample at least.
        source: likewise among the fallback's images; None: twenty a sample, a quarter at most, one a sample at least.
        missing: whether classes that no start image is decided as are an error or only reported.
        moves: how samples move.
        pictured: samples of each class that snapshots show.
        every: iterations from one snapshot to the next; the first and the last state are always shown.
        seed: 0 … 2³² − 1.
    """

    count: Annotated[int, Ge(1)] = 1000
    budget: Annotated[int, Ge(1)] = 10_000_000
    noise: Annotated[int, Ge(0)] | None = None
    source: Annotated[int, Ge(0)] | None = None
    missing: Literal["error", "allow"] = "error"
    moves: Moves = Moves()
    pictured: Annotated[int, Ge(0)] = 3
    every: Annotated[int, Ge(1)] = 10
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0

    def limits(self, fallback: bool) -> dict[str, int]:
        """Queries that each origin of start images may cost."""
        noise = max(self.count, min(4 * self.count, self.budget // 10)) if self.noise is None else self.noise
        source = max(self.count, min(20 * self.count, self.budget // 4)) if self.source is None else self.source
        noise = min(noise, self.budget)
        return {"noise": noise, "source": min(source, self.budget - noise)} if fallback else {"noise": noise}


def zsdb3_of(samples: SampleSettings) -> Zsdb3:
    """The pseudo samples that the parameters describe."""
    return Zsdb3(
        count=samples.count or 0,
        budget=samples.budget or 0,
        missing=samples.missing_classes,
        moves=Moves(**shared(MoveSettings, samples.zsdb3)),
        every=samples.zsdb3.every,
        seed=samples.seed,
    )


@dataclass(frozen=True)
class PseudoSamples:
    """Pseudo samples and what they cost.

    Attributes:
        images: uint8, exactly as asked last.
        decisions: the teacher's decision on each.
        asked: queries of each sample's searches and moves.
        margins: distance to the nearest boundary point found, before the move of each iteration; +inf where none was.
        snapshots: the pictured samples after `snapshot_iterations[s]` iterations.
        pictured: which samples those are.
        snapshot_queries: queries asked by then, by all samples and for their start images.
        queries: by purpose: `noise`, `source`, `search`, `moves`.
        missing: classes that no start image was decided as.
        tried: what was asked for start images, in words.
    """

    images: UInt8[np.ndarray, "n c h w"]
    decisions: Int64[np.ndarray, " n"]
    asked: Int64[np.ndarray, " n"]
    margins: Float32[np.ndarray, "i n"]
    snapshots: UInt8[np.ndarray, "s p c h w"]
    pictured: Int64[np.ndarray, " p"]
    snapshot_iterations: tuple[int, ...]
    snapshot_queries: tuple[int, ...]
    queries: dict[str, int]
    missing: tuple[int, ...]
    tried: str


def zsdb3(
    teacher: Teacher,
    settings: Zsdb3,
    source: Source | None = None,
    class_names: Sequence[str] | None = None,
    device: str = "cpu",
    on_asked: Callable[[int], None] | None = None,
    *,
    rows: int | None = None,
    run: Run = run_here,
) -> PseudoSamples:
    """Make pseudo samples of a teacher that tells nothing but its decision.

    Args:
        teacher: decides; wrapped in `Batching`, so that a decision depends on its image alone.
        settings: how.
        source: start images to fall back on where noise does not reach a class.
        class_names: for messages; None: the classes' numbers.
        device: where searches compute.
        on_asked: called with the number of images after every call (progress).
        rows: samples that are moved in one piece of the work; None: all. Any number gives the same.
        run: brings the pieces about (`db3.work`).

    Raises:
        BudgetSpent: the teacher refuses to go on.
        ConfigError: fewer samples or queries than classes.
        DataError: all start images are decided alike; or a class is missing and that is not allowed; or the teacher's
            bounds are not [0, 1]. The message names the classes and what was tried.
    """
    classes = teacher.spec.classes
    if settings.budget < classes:
        raise ConfigError(
            f"budget is {settings.budget} queries; expected one for each of the {classes} classes at least: raise it"
        )
    first = _starts_work(teacher, settings, source, on_asked)
    starts = _unpacked(run(first)[0])
    check_starts(starts, settings.missing, class_names)
    parts = cut(len(starts.images), rows)
    each = (settings.budget - sum(starts.queries.values())) // len(starts.images)

    def compute(index: int) -> Arrays:
        return dict(vars(move(teacher, starts, parts[index], settings, device, on_asked)))

    def decided_by(index: int) -> list[object]:
        return [first.keys, parts[index]]

    pieces = run(Work("moves", compute, decided_by, [each * len(part) for part in parts], _CODE, machine_bound=True))
    names = [field.name for field in fields(Moved)]
    return pseudo_samples(starts, [Moved(**{name: piece[name] for name in names}) for piece in pieces], settings)


def _starts_work(
    teacher: Teacher, settings: Zsdb3, source: Source | None, on_asked: Callable[[int], None] | None
) -> Work:
    """One piece: the start images. A source is known by the first image that it makes."""
    limits = settings.limits(source is not None)

    def compute(_: int) -> Arrays:
        found = find_starts(teacher, settings.count, limits, settings.seed, source, on_asked)
        answers = {_ANSWERS + origin: counts for origin, counts in found.answers.items()}
        return {"images": found.images, "decisions": found.decisions, "wanted": found.wanted, **answers}

    def decided_by(_: int) -> list[object]:
        return [teacher.spec.identity, settings, None if source is None else source(range(1))]

    return Work("starts", compute, decided_by, [sum(limits.values())], _CODE)


def _unpacked(arrays: Arrays) -> Starts:
    answers = {name.removeprefix(_ANSWERS): array for name, array in arrays.items() if name.startswith(_ANSWERS)}
    return Starts(arrays["images"], arrays["decisions"], answers, arrays["wanted"])


def move(
    teacher: Teacher,
    starts: Starts,
    rows: range,
    settings: Zsdb3,
    device: str = "cpu",
    on_asked: Callable[[int], None] | None = None,
) -> Moved:
    """Move some of the start images; any cut of all samples into rows gives the same.

    Args:
        teacher: decides.
        starts: all start images.
        rows: which of them.
        settings: how.
        device: where searches compute.
        on_asked: called with the number of images after every call (progress).
    """
    spec, pool = teacher.spec, TransferImages(starts.images, starts.decisions)
    check_pool(spec, pool)
    plan = _plan(starts, settings)
    pictured, pictures = _pictured(starts, settings), _pictures(plan, settings)
    done: list[tuple[int, Moved]] = []

    def asks(part: range) -> Asks:
        nearest = _nearest_others(spec, pool, part, settings.moves.starts)
        block = Block(spec, pool, part, nearest, settings.moves, plan, settings.seed, pictured, pictures, device)
        yield from block.asks()
        done.append((part.start, block.result()))

    drive((asks(part) for part in _parts(spec, rows, settings)), teacher, on_asked=on_asked, keep=False)
    return join([moved for _, moved in sorted(done, key=lambda pair: pair[0])])


def join(parts: Sequence[Moved]) -> Moved:
    """Samples that were moved apart, in order."""
    return Moved(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.margins for part in parts], axis=1),
        np.concatenate([part.searched for part in parts], axis=1),
        np.concatenate([part.moved for part in parts], axis=1),
        np.concatenate([part.snapshots for part in parts], axis=1),
    )


def pseudo_samples(starts: Starts, parts: Sequence[Moved], settings: Zsdb3) -> PseudoSamples:
    """The result of all rows, which come in order."""
    moved, pictures = join(parts), _pictures(_plan(starts, settings), settings)
    by_iteration = (moved.searched + moved.moved).sum(axis=1, dtype=np.int64)
    at = np.concatenate([[0], by_iteration.cumsum()]) + sum(starts.queries.values())
    return PseudoSamples(
        images=moved.images,
        decisions=starts.decisions,
        asked=(moved.searched + moved.moved).sum(axis=0, dtype=np.int64),
        margins=moved.margins,
        snapshots=moved.snapshots,
        pictured=_pictured(starts, settings),
        snapshot_iterations=pictures,
        snapshot_queries=tuple(int(at[iteration]) for iteration in pictures),
        queries={**starts.queries, "search": _total(moved.searched), "moves": _total(moved.moved)},
        missing=starts.missing,
        tried=starts.tried,
    )


def _plan(starts: Starts, settings: Zsdb3) -> list[int]:
    """Queries of each search: every sample has the same part of what the start images have left."""
    left = settings.budget - sum(starts.queries.values())
    return settings.moves.plan(left // len(starts.images))


def _pictured(starts: Starts, settings: Zsdb3) -> Int64[np.ndarray, " p"]:
    """The first samples of each class."""
    classes = range(len(starts.wanted))
    places = [np.flatnonzero(starts.decisions == k)[: settings.pictured] for k in classes]
    return np.sort(np.concatenate(places)).astype(np.int64)


def _pictures(plan: Sequence[int], settings: Zsdb3) -> tuple[int, ...]:
    """After how many iterations snapshots are taken."""
    return tuple(sorted({*range(0, len(plan) + 1, settings.every), len(plan)}))


def _parts(spec: TeacherSpec, rows: range, settings: Zsdb3) -> Iterator[range]:
    values = int(np.prod(spec.input_shape)) * (
        4 + settings.moves.starts
    )  # sample, best and known point, an ask, starts
    size = min(_ROWS_PER_BLOCK, max(1, _VALUES_PER_BLOCK // values))
    return (range(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size))


def _nearest_others(spec: TeacherSpec, pool: TransferImages, rows: range, count: int) -> Float[torch.Tensor, "r q d"]:
    """The nearest start image of each of the `count` nearest other classes; NaN where there are fewer."""
    part = slice(rows.start, rows.stop)
    index, distances = nearest_starts(pool.images[part], pool.images, pool.decisions, spec.classes, 1)
    distances[np.arange(len(rows)), pool.decisions[part]] = np.inf
    order = distances[..., 0].argsort(axis=1, kind="stable")[:, :count]
    chosen = np.take_along_axis(index[..., 0], order, axis=1)
    starts = to_floats(pool.images[chosen.clip(min=0)].reshape(*chosen.shape, -1))
    starts[torch.from_numpy(~np.isfinite(np.take_along_axis(distances[..., 0], order, axis=1)))] = torch.nan
    return starts


def _total(counts: Int32[np.ndarray, "i r"]) -> int:
    return int(counts.sum(dtype=np.int64))
