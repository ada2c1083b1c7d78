"""What is asked beside a search: augmented images of the samples, for the student and for the augmented baseline.

Both learn the same images, each a function of (samples, seed, its number): the student the first of them, the baseline
these and more.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from db3.images.augmented import decide_augmented
from db3.search.plan import count_augmented, count_variations
from db3.settings.search import Query
from db3.teachers.base import Teacher
from db3.types import TransferImages
from db3.work import Run, run_here

Affordable = Callable[[str, int], int]
"""(name of a work, images that it wants) → how many of these the budget still pays for."""


@dataclass(frozen=True)
class AugmentedAnswers:
    """The teacher's decisions on augmented images, in the order of their numbers.

    Attributes:
        decisions: of the images asked.
        short: whether the budget did not pay for all of them.
    """

    decisions: Int64[np.ndarray, " m"]
    short: bool


def whole(_: str, count: int) -> int:
    """All of them: a budget that is asked about nothing beforehand, and refuses where it ends."""
    return count


def ask_variations(
    teacher: Teacher,
    pool: TransferImages,
    query: Query,
    searched: int,
    *,
    affordable: Affordable = whole,
    run: Run = run_here,
) -> AugmentedAnswers:
    """Ask the augmented images that the student learns beside what its searches asked: 0, 1, …

    Args:
        teacher: decides.
        pool: the samples that they descend from.
        query: which share of the student's queries they are, and their seed.
        searched: queries of the searches.
        affordable: what the budget pays for.
        run: brings the pieces about (`db3.work`).
    """
    pairs = len(pool.decisions) * (teacher.spec.classes - 1)
    numbers = range(count_variations(query.variations, searched, pairs * query.budget))
    return _ask(teacher, pool, "variations", numbers, query.seed, affordable, run)


def ask_augmented(
    teacher: Teacher,
    pool: TransferImages,
    query: Query,
    searched: int,
    variations: int,
    *,
    affordable: Affordable = whole,
    run: Run = run_here,
) -> AugmentedAnswers:
    """Ask the augmented images that the baseline learns beyond the student's, whose numbers follow theirs.

    Args:
        teacher: as of `ask_variations`, like `pool`, `query`, `searched`, `affordable` and `run`.
        pool: see there.
        query: how many the baseline wants, and their seed.
        searched: see there.
        variations: images of the student's that were asked.
        affordable: see there.
        run: see there.
    """
    rest = range(variations, variations + count_augmented(query.augmented, searched, variations))
    return _ask(teacher, pool, "augmented", rest, query.seed, affordable, run)


def _ask(
    teacher: Teacher, pool: TransferImages, name: str, numbers: range, seed: int, affordable: Affordable, run: Run
) -> AugmentedAnswers:
    count = affordable(name, len(numbers)) if numbers else 0
    decisions = decide_augmented(teacher, pool, numbers[:count], seed, run, name)
    return AugmentedAnswers(decisions, len(decisions) < len(numbers))
