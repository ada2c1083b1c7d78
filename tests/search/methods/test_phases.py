"""The order of phases, and that cutting pairs into blocks changes nothing."""

import numpy as np
import pytest
import torch

from db3.search.driver import drive
from db3.search.ledger import Log, Pairs, Search
from db3.search.methods.phases import phase_asks, plan
from db3.search.starts import nearest_starts
from db3.search.surrogate.surrogate import Answers, Surrogate, SurrogateSettings
from tests.search.conftest import RealTeacher

pytestmark = pytest.mark.usefixtures("small_calls", "few_steps", "unchecked")

SHAPE = (1, 16, 16)
BUDGET = 70


@pytest.mark.parametrize("budget", [0, 1, 3, 10, 25, 26, 100, 1000, 4000])
@pytest.mark.parametrize("probing", [True, False])
def test_a_plan_spends_its_budget_and_no_more(budget: int, probing: bool) -> None:
    phases = plan(budget, probing)
    assert [phase.number for phase in phases] == list(range(len(phases)))
    ends = [phase.until for phase in phases]
    assert ends == sorted(set(ends))
    assert (ends[-1] if ends else 0) == budget
    assert [phase.search for phase in phases].count("first") == min(1, budget)
    assert not any(phase.retrain for phase in phases[:1])


def test_a_larger_budget_begins_with_the_same_phases() -> None:
    assert plan(1000)[: len(plan(100)) - 1] == plan(100)[:-1]


def searched(real: RealTeacher, cut: int, queries: tuple[int, ...] = ()) -> tuple[torch.Tensor, torch.Tensor]:
    """Run all phases with the pairs in blocks of `cut`; the surrogate is trained once only."""
    pool, count = real.pool, 6
    targets = (pool.decisions[:count] + 1 + np.arange(count) % 9) % 10
    nearest, _ = nearest_starts(pool.images[:count], pool.images, pool.decisions, 10, 1)
    pixels = torch.from_numpy(pool.images).float().flatten(1) / 255
    starts = pixels[nearest[np.arange(count), targets, 0]]
    known = Answers(torch.from_numpy(pool.images).flatten(1), torch.from_numpy(pool.decisions))
    surrogate = Surrogate(SHAPE, 10, SurrogateSettings("lenet5_half", networks=2, steps=40, basis=50))
    surrogate.learn(known)
    searches = []
    for begin in range(0, count, cut):
        rows = slice(begin, begin + cut)
        parts = (pixels[:count][rows], torch.from_numpy(pool.decisions[:count][rows]), torch.from_numpy(targets[rows]))
        search = Search(Pairs(*parts, torch.arange(count)[rows], SHAPE), BUDGET)
        search.log = Log(search.pairs)
        searches.append(search)
    blocks = starts.split(cut)
    for phase in plan(BUDGET):
        drive([phase_asks(phase, s, b, surrogate, 0) for s, b in zip(searches, blocks, strict=True)], real.teacher)
        assert all(int(search.asked.max()) <= phase.until for search in searches)
        assert all(search.budget == BUDGET for search in searches)
    return torch.cat([s.best for s in searches]), torch.cat([s.asked for s in searches])


def test_a_pair_s_result_does_not_depend_on_the_blocks(real_teacher: RealTeacher) -> None:
    best, asked = searched(real_teacher, 6)
    assert int(asked.min()) > BUDGET - 20
    for cut in (1, 4):
        other, also = searched(real_teacher, cut)
        assert torch.equal(also, asked)
        assert torch.equal(other, best)
