"""Guided searches in one go: the phases of `db3.search.methods.phases` over all blocks."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from db3.search.driver import drive
from db3.search.ledger import Log, Search
from db3.search.methods.phases import Phase, phase_asks, plan
from db3.search.surrogate.surrogate import Answers, Surrogate
from db3.teachers.base import Teacher


def auto(
    teacher: Teacher,
    searches: Sequence[Search],
    starts: Sequence[Float[Tensor, "n d"]],
    surrogate: Surrogate,
    known: Answers,
    phases: Sequence[Phase] | None = None,
    on_asked: Callable[[int], None] | None = None,
) -> None:
    """Spend the budget of every pair.

    A pair's result depends on which pairs share the surrogate (they teach it), but not on how they are cut into blocks
    or packed into calls: answers are put in the order of (sample, class, place) before they are learnt.

    Args:
        teacher: decides.
        searches: the blocks' ledgers.
        starts: a start sample for each of their pairs, NaN where there is none.
        surrogate: trained on `known`.
        known: the answers it was trained on.
        phases: in order; None: the plan for the largest budget.
        on_asked: progress.
    """
    if phases is None:
        phases = plan(max((search.budget for search in searches), default=0))
    for search in searches:
        search.log = search.log or Log(search.pairs)
    for phase in phases:
        paid = answers_of(searches)
        if phase.retrain and len(paid):
            surrogate.learn(known, paid)
        asks = (phase_asks(phase, search, start, surrogate, 0) for search, start in zip(searches, starts, strict=True))
        drive(asks, teacher, on_asked=on_asked)


def guided(
    teacher: Teacher,
    searches: Sequence[Search],
    starts: Sequence[Float[Tensor, "n d"]],
    surrogate: Surrogate,
    known: Answers,
    on_asked: Callable[[int], None] | None = None,
) -> None:
    """Guided rounds all the way; for the rest see `auto`."""
    budget = max((search.budget for search in searches), default=0)
    auto(teacher, searches, starts, surrogate, known, plan(budget, probing=False), on_asked)


def answers_of(searches: Sequence[Search]) -> Answers:
    """Every answer logged, in the order of (sample, class, place): whatever the blocks, the same bytes."""
    keys, images, decisions = zip(*(search.log.read() for search in searches if search.log), strict=True)
    joined = torch.cat(keys)
    order = torch.arange(len(joined), device=joined.device)
    for column in (2, 1, 0):
        order = order[joined[order, column].argsort(stable=True)]
    return Answers(torch.cat(images)[order], torch.cat(decisions)[order])
