"""Boundary distances of some samples: the blocks of pairs, the driver, the answers kept."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import torch

from db3.search.blocks import Blocks, Distances
from db3.search.driver import drive, replay
from db3.search.ledger import Asks
from db3.search.method import WITH_SURROGATES, Method
from db3.search.methods.auto import IN_FLIGHT, Answer, SurrogateSearch, replayed, run_here
from db3.search.surrogate.surrogate import SurrogateSettings
from db3.teachers.base import Teacher, TeacherSpec
from db3.types import TransferImages


def search_distances(
    teacher: Teacher,
    pool: TransferImages,
    rows: range,
    method: Method,
    on_asked: Callable[[int], None] | None = None,
    surrogate: SurrogateSettings | None = None,
    device: str | torch.device = "cpu",
) -> Distances:
    """Search the boundary distances of the samples `rows` of the pool.

    A pair's result depends on (seed, sample, class, answers) alone, so any cut into rows gives the same numbers. The
    methods `guided` and `auto` train surrogates first, on the whole pool and its synthetic queries,
    and go on training them on what the rows ask: their results depend on the rows that are searched together.

    Args:
        teacher: decides.
        pool: all samples.
        rows: which of them to search.
        method: how.
        on_asked: told the number of images after every call (progress).
        surrogate: of `guided` and `auto`; None: as fits the images.
        device: where the searches compute, best the teacher's own: then no image is copied between the two.

    Raises:
        DataError: the pool's images are of another shape than the teacher's, or its bounds are not [0, 1].
    """
    if method.name in WITH_SURROGATES:

        def answer(_: int | None, searches: Iterable[Asks]) -> list[torch.Tensor]:
            return drive(searches, teacher, IN_FLIGHT, on_asked)

        return _with_surrogates(answer, teacher.spec, pool, rows, method, surrogate, device)
    blocks = Blocks(teacher.spec, pool, rows, method, device)
    answers = drive(blocks.asks(), teacher, on_asked=on_asked)
    return blocks.collect(torch.cat(answers).numpy() if answers else np.empty(0, np.int64))


def replay_distances(
    spec: TeacherSpec,
    pool: TransferImages,
    rows: range,
    method: Method,
    journal: np.ndarray,
    surrogate: SurrogateSettings | None = None,
    device: str | torch.device = "cpu",
) -> Distances:
    """The same from a journal instead of a teacher.

    Raises:
        ValueError: the journal belongs to other samples or another method.
    """
    rest = torch.from_numpy(journal.astype(np.int64))
    if method.name in WITH_SURROGATES:
        surrogate = surrogate or SurrogateSettings(seed=method.seed)
        synthetic_queries = min(_synthetic_queries(pool, surrogate), len(rest)) if method.budget else 0
        answer, left = replayed(rest[:synthetic_queries].numpy(), [rest[synthetic_queries:].numpy()])
        found = _with_surrogates(answer, spec, pool, rows, method, surrogate, device)
        rest = rest[len(rest) - left() :]
    else:
        blocks = Blocks(spec, pool, rows, method, device)
        for asks in blocks.asks():
            rest = rest[replay(asks, rest) :]
        found = blocks.collect(journal.astype(np.int64))
    if len(rest):
        raise ValueError(f"the journal holds {len(rest)} answers more than the searches of samples {rows} ask for")
    return found


def _synthetic_queries(pool: TransferImages, surrogate: SurrogateSettings) -> int:
    return round(surrogate.synthetic_queries * len(pool.decisions))


def _with_surrogates(
    answer: Answer,
    spec: TeacherSpec,
    pool: TransferImages,
    rows: range,
    method: Method,
    surrogate: SurrogateSettings | None,
    device: str | torch.device,
) -> Distances:
    settings = surrogate or SurrogateSettings(seed=method.seed)
    surrogate_search = SurrogateSearch(
        answer, spec, pool, [rows], method, settings, _synthetic_queries(pool, settings), device=device
    )
    found = surrogate_search.distances(run_here)
    return replace(found[0], answers=np.concatenate([found.synthetic_answers, found[0].answers]))
