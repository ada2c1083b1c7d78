"""Boundary distances of some samples: the blocks of pairs, the driver, the answers kept."""

from collections.abc import Callable

import numpy as np
import torch

from db3.decisions.blocks import Blocks, Distances
from db3.decisions.driver import drive, replay
from db3.decisions.method import Method
from db3.samples.pool import TransferImages
from db3.teachers.base import Teacher, TeacherSpec


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
    blocks = Blocks(teacher.spec, pool, rows, method)
    answers = drive(blocks.asks(), teacher, on_asked=on_asked)
    return blocks.collect(torch.cat(answers).numpy() if answers else np.empty(0, np.int64))


def replay_distances(
    spec: TeacherSpec, pool: TransferImages, rows: range, method: Method, journal: np.ndarray
) -> Distances:
    """The same from a journal instead of a teacher.

    Raises:
        ValueError: the journal belongs to other samples or another method.
    """
    blocks = Blocks(spec, pool, rows, method)
    rest = torch.from_numpy(journal.astype(np.int64))
    for asks in blocks.asks():
        rest = rest[replay(asks, rest) :]
    if len(rest):
        raise ValueError(f"the journal holds {len(rest)} answers more than the searches of samples {rows} ask for")
    return blocks.collect(journal.astype(np.int64))
