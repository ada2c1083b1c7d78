"""The order of a guided search: which phases a budget is spent in, and one phase of one block of pairs.

A phase is run for every block of pairs apart, so blocks may be spread over workers; between phases the primers may
learn all answers of all blocks (`Phase.retrain`). A pair's result depends on which pairs teach its primers, never on
how pairs are cut into blocks.

    primer, known = ...                       # trained, with the answers it was trained on
    for phase in plan(budget):
        if phase.retrain:
            primer.learn(known, answers_of(logs))
        drive((phase_asks(phase, search, starts, primer) for ...), teacher)
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from db3.decisions.guided import Round, first_round, later_round
from db3.decisions.primer import Primer
from db3.decisions.search import Search


@dataclass(frozen=True)
class Phase:
    """One phase of every pair.

    Attributes:
        search: `first` attacks the primers from the samples, `later` from the boundary points known.
        retrain: the primers learn every answer so far before it begins.
        until: queries that a pair has asked at most when the phase ends, all phases together.
        round: how narrow its brackets are, and its queries per pair at most.
        number: of the phase, from 0.
    """

    search: Literal["first", "later"]
    retrain: bool
    until: int
    round: Round
    number: int


def plan(budget: int) -> tuple[Phase, ...]:
    """The phases that spend a budget of queries per pair; none for a budget of 0."""
    phases: list[Phase] = []
    spent = 0
    for number, how in enumerate(_rounds(budget)):
        if spent >= budget:
            break
        spent = min(spent + how.queries, budget)
        retrain = number in _RETRAIN or (number > max(_RETRAIN) and number % _SELDOM == 0)
        phases.append(Phase("later" if number else "first", retrain, spent, how, number))
    return tuple(phases)


def phase_asks(
    phase: Phase, search: Search, starts: Float[Tensor, "n d"], primer: Primer
) -> Generator[Tensor, Tensor, None]:
    """One phase of one block.

    Args:
        phase: of the plan.
        search: the block's ledger, as the phase before left it (best, distance, asked; log where it is to be learnt).
        starts: a start sample of each pair's class, NaN where there is none; read by the first phase alone.
        primer: trained.
    """
    budget, search.budget = search.budget, min(search.budget, phase.until)
    try:
        if phase.search == "first":
            yield from first_round(search, primer.margin, starts, phase.round)
        else:
            yield from later_round(search, primer.margin, phase.round)
    finally:
        search.budget = budget


_RETRAIN = (1, 2, 3, 4, 6, 8, 11, 15, 20)
_SELDOM = 10
_EARLY = (Round(0.2, 3), Round(0.1, 3), Round(0.08, 3), Round(0.06, 4), Round(0.04, 4), Round(0.02, 5))
_LATE = Round(0.01, 5)


def _rounds(budget: int) -> tuple[Round, ...]:
    """Loose brackets first: the early ends of a bracket teach the primers as much, and the ray will be left anyway."""
    return _EARLY + (_LATE,) * (budget // _LATE.queries)
