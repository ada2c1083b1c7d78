"""Search every pair (sample, other class) by any method: the one path of library, pipeline and benchmarks."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace

import numpy as np
import torch

from db3.progress import Progress
from db3.search.blocks import Blocks
from db3.search.catalogue import WITH_SURROGATES, SearchSettings
from db3.search.distances import DistanceParts, Distances
from db3.search.driver import drive, replay
from db3.search.ledger import Asks
from db3.search.methods.auto import CODE, IN_FLIGHT, SurrogateSearch, replayed
from db3.search.surrogate.surrogate import SurrogateSettings
from db3.teachers.base import Teacher, TeacherSpec
from db3.types import TransferImages
from db3.work import Arrays, Run, Work, cut, run_here

_FIELDS = tuple(field.name for field in fields(Distances))


def search_pairs(
    teacher: Teacher,
    pool: TransferImages,
    settings: SearchSettings,
    parts: Sequence[range] | None = None,
    surrogate: SurrogateSettings | None = None,
    *,
    device: str | torch.device = "cpu",
    workers: int = 1,
    on_asked: Callable[[int], None] | None = None,
    run: Run = run_here,
) -> DistanceParts:
    """Search the boundary distances of some samples, part by part.

    A pair's result depends on (seed, sample, class, answers) alone, so any cut into parts gives the same numbers. The
    methods `guided` and `auto` train surrogates first, on the whole pool and on more queries for each of its samples,
    and go on training them on what the parts ask: a pair's result depends on all pairs that are searched together, but
    not on how they are cut.

    Args:
        teacher: decides.
        pool: all samples, uint8 [n, C, H, W], and their decisions [n].
        settings: how.
        parts: samples of each piece of the work; None: all in one.
        surrogate: of `guided` and `auto`; None: as fits the images.
        device: where the searches compute, best the teacher's own: then no image is copied between the two.
        workers: networks of a surrogate that are trained at the same time.
        on_asked: called with the number of images after every call; None: a long search here shows its own progress.
        run: brings the pieces about (`db3.work`).

    Raises:
        DataError: the pool's images are of another shape than the teacher's, or its bounds are not [0, 1].
    """
    spec, parts = teacher.spec, cut(len(pool.decisions), None) if parts is None else parts
    if on_asked is None and run is run_here:
        total = sum(map(len, parts)) * (spec.classes - 1) * settings.asked
        with Progress("searching", total, "query", inner=True) as progress:
            return search_pairs(
                teacher, pool, settings, parts, surrogate, device=device, workers=workers, on_asked=progress.advance
            )
    if settings.method in WITH_SURROGATES:

        def answer(_: int | None, searches: Iterable[Asks]) -> list[torch.Tensor]:
            return drive(searches, teacher, IN_FLIGHT, on_asked)

        surrogates = surrogate or SurrogateSettings(seed=settings.seed)
        return SurrogateSearch(answer, spec, pool, parts, settings, surrogates, device, workers).distances(run)

    def compute(index: int) -> Arrays:
        blocks = Blocks(spec, pool, parts[index], settings, device)
        answers = drive(blocks.asks(), teacher, on_asked=on_asked)
        return _packed(blocks.collect(torch.cat(answers).numpy() if answers else np.empty(0, np.int64)), spec)

    def decided_by(index: int) -> list[object]:
        return [spec.identity, pool.digest, settings, parts[index]]

    maximum = [len(part) * (spec.classes - 1) * settings.asked for part in parts]
    pieces = run(Work("search", compute, decided_by, maximum, CODE))
    return DistanceParts(len(parts), lambda index: _unpacked(pieces[index]))


def search_distances(
    teacher: Teacher,
    pool: TransferImages,
    rows: range,
    settings: SearchSettings,
    on_asked: Callable[[int], None] | None = None,
    surrogate: SurrogateSettings | None = None,
    device: str | torch.device = "cpu",
) -> Distances:
    """The distances of the samples `rows`, searched in one piece; `answers` begins with those to synthetic queries.

    Args and errors as in `search_pairs`.
    """
    found = search_pairs(teacher, pool, settings, [rows], surrogate, device=device, on_asked=on_asked)
    return _whole(found)


def replay_distances(
    spec: TeacherSpec,
    pool: TransferImages,
    rows: range,
    settings: SearchSettings,
    journal: np.ndarray,
    surrogate: SurrogateSettings | None = None,
    device: str | torch.device = "cpu",
) -> Distances:
    """The same as `search_distances` from its `answers` instead of a teacher.

    Raises:
        ValueError: the journal belongs to other samples or another method.
    """
    rest = torch.from_numpy(journal.astype(np.int64))
    if settings.method in WITH_SURROGATES:
        surrogates = surrogate or SurrogateSettings(seed=settings.seed)
        synthetic = min(surrogates.synthetic(len(pool.decisions)), len(rest)) if settings.budget else 0
        answer, left = replayed(rest[:synthetic].numpy(), [rest[synthetic:].numpy()])
        search = SurrogateSearch(answer, spec, pool, [rows], settings, surrogates, device)
        found, unused = _whole(search.distances(run_here)), left()
    else:
        blocks = Blocks(spec, pool, rows, settings, device)
        for asks in blocks.asks():
            rest = rest[replay(asks, rest) :]
        found, unused = blocks.collect(journal.astype(np.int64)), len(rest)
    if unused:
        raise ValueError(f"the journal holds {unused} answers more than the searches of samples {rows} ask for")
    return found


def _whole(found: DistanceParts) -> Distances:
    (only,) = found
    return replace(only, answers=np.concatenate([found.synthetic_answers, only.answers]))


def _packed(found: Distances, spec: TeacherSpec) -> Arrays:
    arrays = {name: getattr(found, name) for name in _FIELDS}
    arrays["answers"] = found.answers.astype(np.min_scalar_type(spec.classes - 1))  # an eighth of the bytes to keep
    return arrays


def _unpacked(arrays: Arrays) -> Distances:
    return Distances(**{**{name: arrays[name] for name in _FIELDS}, "answers": arrays["answers"].astype(np.int64)})
