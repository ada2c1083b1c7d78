"""Student-guided search: minimal perturbations are found on a primer, for nothing, and checked on the teacher.

One round: attack the primer from each pair's best boundary point (the first round: from the sample), then look along
the direction found, where the primer expects the boundary. Between rounds the primer learns the answers just paid for;
`guided` runs the rounds. A pair whose class is not reached so is bisected towards its start sample, as BD does.

Notes:
    From the second round on the primer's boundary is shifted, pair by pair, to pass through the teacher's boundary
    point known (`level`): a gradient is right long before the height is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from db3.decisions.bracket import approach
from db3.decisions.driver import drive
from db3.decisions.minimal import Margin, Steps, minimal_perturbation
from db3.decisions.primer import Answers, Primer
from db3.decisions.search import Asks, Log, Search
from db3.teachers.base import Teacher

FIRST = Steps(30)
LATER = Steps(30, size=(0.2, 0.02))
_REACH = 1.1  # a primer's first boundary lies about a tenth too near
_NEARER = 1.01
_START_TOLERANCE = 0.1


@dataclass(frozen=True)
class Round:
    """One round: relative width of its brackets, and its queries per pair at most."""

    tolerance: float
    queries: int


ROUNDS = (Round(0.2, 3), Round(0.1, 3), Round(0.08, 3), Round(0.06, 4), Round(0.04, 4), Round(0.02, 5))
"""Loose brackets first: the early ends of a bracket teach the primer as much, and the ray will be left anyway."""


def first_round(search: Search, margin: Margin, starts: Float[Tensor, "n d"], how: Round, steps: Steps = FIRST) -> Asks:
    """Attack from the samples; towards the start sample (NaN: none) where that reaches nothing."""
    pairs = search.pairs
    started = torch.isfinite(starts[:, 0]).nonzero()[:, 0]
    search.know(started, starts[started])
    unmoved = search.distance.clone()
    found, distance = minimal_perturbation(margin, pairs.images, pairs.targets, steps, pairs.bounds)
    rows = (torch.isfinite(distance) & (distance > 0)).nonzero()[:, 0]
    directions = (found[rows] - pairs.images[rows]) / distance[rows, None]
    yield from approach(search, rows, directions, distance[rows] * _REACH, how.tolerance, how.queries)
    rest = started[search.distance[started] == unmoved[started]]
    rest = rest[search.distance[rest] > 0]
    half = search.distance[rest] / 2
    yield from approach(search, rest, search.direction(rest), half, _START_TOLERANCE, how.queries)


def later_round(search: Search, margin: Margin, how: Round, steps: Steps = LATER) -> Asks:
    """Attack from the best boundary points, the primer's boundary shifted to pass through them."""
    pairs = search.pairs
    rows = (torch.isfinite(search.distance) & (search.distance > 0) & search.affordable(1)).nonzero()[:, 0]
    if not len(rows):
        return
    images, targets, best = pairs.images[rows], pairs.targets[rows], search.best[rows]
    level, _ = margin(best, targets)
    found, distance = minimal_perturbation(margin, images, targets, steps, pairs.bounds, best, level)
    moved = torch.isfinite(distance) & (distance > 0)
    rows, distance = rows[moved], distance[moved]
    directions = (found[moved] - images[moved]) / distance[:, None]
    yield from approach(search, rows, directions, distance * _NEARER, how.tolerance, how.queries)


def guided(
    teacher: Teacher,
    searches: Sequence[Search],
    starts: Sequence[Float[Tensor, "n d"]],
    primer: Primer,
    known: Answers,
    rounds: Sequence[Round] = ROUNDS,
    on_asked: Callable[[int], None] | None = None,
) -> None:
    """Run the rounds over all blocks; the primer is retrained between them.

    A pair's result depends on which pairs share the primer (they teach it), but not on how they are cut into blocks or
    packed into calls: answers are put in the order of (sample, class, place) before they are learnt.

    Args:
        teacher: decides.
        searches: the blocks' ledgers.
        starts: a start sample for each of their pairs, NaN where there is none.
        primer: trained on `known`.
        known: the answers it was trained on.
        rounds: in order.
        on_asked: progress.
    """
    for search in searches:
        search.log = search.log or Log(search.pairs)
    drive(
        (first_round(search, primer.margin, start, rounds[0]) for search, start in zip(searches, starts, strict=True)),
        teacher,
        on_asked=on_asked,
    )
    for how in rounds[1:]:
        again(teacher, searches, primer, known, how, on_asked)


def again(
    teacher: Teacher,
    searches: Sequence[Search],
    primer: Primer,
    known: Answers,
    how: Round,
    on_asked: Callable[[int], None] | None = None,
) -> None:
    """Retrain the primer on all that was asked, and run one later round."""
    paid = answers_of(searches)
    if len(paid):
        primer.learn(known, paid)
    drive((later_round(search, primer.margin, how) for search in searches), teacher, on_asked=on_asked)


def answers_of(searches: Sequence[Search]) -> Answers:
    """Every answer logged, in the order of (sample, class, place): whatever the blocks, the same bytes."""
    keys, images, decisions = zip(*(search.log.read() for search in searches if search.log), strict=True)
    joined = torch.cat(keys)
    order = torch.arange(len(joined))
    for column in (2, 1, 0):
        order = order[joined[order, column].argsort(stable=True)]
    return Answers(torch.cat(images)[order], torch.cat(decisions)[order])
