"""The order of a guided search: which phases a budget is spent in, and one phase of one block of pairs.

A phase is run for every block of pairs apart, so blocks may be spread over workers; between phases the surrogates may
learn all answers of all blocks (`Phase.retrain`). A pair's result depends on which pairs teach its surrogates, never on
how pairs are cut into blocks.

    surrogate, known = ...                       # trained, with the answers it was trained on
    for phase in plan(budget):
        if phase.retrain:
            surrogate.learn(known, answers_of(logs))
        drive((phase_asks(phase, search, starts, surrogate, seed) for ...), teacher)
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from db3.search.ledger import Search
from db3.search.methods.guided import Round, first_round, later_round
from db3.search.methods.local import LocalSettings, local
from db3.search.surrogate.surrogate import Surrogate


@dataclass(frozen=True)
class Phase:
    """One phase of every pair.

    Attributes:
        search: `first` attacks the surrogates from the samples, `later` from the boundary points known, `local` probes
            around those.
        retrain: the surrogates learn every answer so far before it begins.
        until: queries that a pair has asked at most when the phase ends, all phases together.
        round: how narrow its brackets are, and its queries per pair at most.
        number: of the phase, from 0.
    """

    search: Literal["first", "later", "local"]
    retrain: bool
    until: int
    round: Round
    number: int


def plan(budget: int, probing: bool = True) -> tuple[Phase, ...]:
    """The phases that spend a budget of queries per pair; none for a budget of 0.

    Args:
        budget: queries per pair.
        probing: guided rounds first and then local search; False: guided rounds all the way.
    """
    phases: list[Phase] = []
    spent = 0
    steps = (*_GUIDED, *(_LOCAL if probing else _rounds(budget)))
    for number, (search, retrain, how) in enumerate(steps):
        if spent >= budget:
            break
        spent = min(spent + how.queries, budget)
        phases.append(Phase(search, retrain, spent, how, number))
    if spent < budget:
        phases.append(Phase("local", True, budget, Round(_FINE, budget - spent), len(phases)))
    return tuple(phases)


def phase_asks(
    phase: Phase, search: Search, starts: Float[Tensor, "n d"], surrogate: Surrogate, seed: int
) -> Generator[Tensor, Tensor, None]:
    """One phase of one block.

    Args:
        phase: of the plan.
        search: the block's ledger, as the phase before left it: best, distance, asked, and the log with the answers of
            earlier phases, from which a local phase learns.
        starts: a start sample of each pair's class, NaN where there is none; read by the first phase alone.
        surrogate: trained.
        seed: of the local phases' probes.
    """
    budget, search.budget = search.budget, min(search.budget, phase.until)
    try:
        if phase.search == "first":
            yield from first_round(search, surrogate.margin, starts, phase.round)
        elif phase.search == "later":
            yield from later_round(search, surrogate.margin, phase.round)
        else:
            yield from local(search, surrogate, LocalSettings(seed=seed))
    finally:
        search.budget = budget


_Step = tuple[Literal["first", "later", "local"], bool, Round]
_FINE = 0.003
_GUIDED: tuple[_Step, ...] = (
    ("first", False, Round(0.1, 4)),
    ("later", True, Round(0.1, 3)),
    ("later", True, Round(0.1, 3)),
    ("later", True, Round(0.1, 3)),
    ("later", False, Round(0.1, 3)),
    ("later", True, Round(0.1, 3)),
    ("later", False, Round(0.1, 3)),
    ("later", False, Round(0.1, 3)),
)
_LOCAL: tuple[_Step, ...] = tuple(("local", True, Round(_FINE, queries)) for queries in (75, 150, 250, 250, 250))


def _rounds(budget: int) -> tuple[_Step, ...]:
    return tuple(("later", number % 8 == 0, Round(0.1, 4)) for number in range(-(-budget // 4)))
