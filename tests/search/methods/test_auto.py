"""The searches beyond the paper: HopSkipJump, semicircles, and those that a surrogate guides."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from db3.search import SearchSettings, search_distances
from db3.search.driver import drive, replay
from db3.search.ledger import Asks, Pairs, Search
from db3.search.methods.bd import boundary_distance
from db3.search.methods.hopskipjump import hop_skip_jump
from db3.search.methods.semicircle import SemicircleSettings, semicircle
from db3.search.starts import nearest_starts
from db3.search.subspace import cells
from db3.search.surrogate.surrogate import SurrogateSettings
from db3.settings.search import MethodName
from tests.search.conftest import RealTeacher

BUDGET = 120
SHAPE = (1, 16, 16)
Algorithm = Callable[[Search], Asks]


def hop(search: Search) -> Asks:
    return hop_skip_jump(search, cells(SHAPE, 2, 0), probes=20)


def circles(search: Search) -> Asks:
    def asks() -> Asks:
        yield from semicircle(search, cells(SHAPE, 2, 0), SemicircleSettings())

    return asks()


@pytest.fixture(scope="module")
def problem(real_teacher: RealTeacher) -> tuple[Pairs, Tensor]:
    """Forty pairs of the real teacher with their nearest start samples."""
    pool, count = real_teacher.pool, 40
    targets = (pool.decisions[:count] + 1 + np.arange(count) % 9) % 10
    nearest, _ = nearest_starts(pool.images[:count], pool.images, pool.decisions, 10, 1)
    pixels = torch.from_numpy(pool.images).float().flatten(1) / 255
    pairs = Pairs(
        pixels[:count],
        torch.from_numpy(pool.decisions[:count]),
        torch.from_numpy(targets),
        torch.arange(count),
        SHAPE,
    )
    return pairs, pixels[nearest[np.arange(count), targets, 0]]


def some(pairs: Pairs, rows: Tensor) -> Pairs:
    parts = (pairs.images[rows], pairs.decisions[rows], pairs.targets[rows], pairs.samples[rows])
    return Pairs(*parts, pairs.shape)


def improved(algorithm: Algorithm, search: Search, starts: Tensor) -> Asks:
    yield from boundary_distance(search, starts[:, None], 0.01)
    yield from algorithm(search)


def after_bd(real: RealTeacher, pairs: Pairs, starts: Tensor) -> Tensor:
    search = Search(pairs, BUDGET)
    drive([boundary_distance(search, starts[:, None], 0.01)], real.teacher)
    return search.distance


@pytest.mark.parametrize("algorithm", [hop, circles])
def test_a_search_improves_on_bd_within_its_budget(
    real_teacher: RealTeacher, problem: tuple[Pairs, Tensor], algorithm: Algorithm
) -> None:
    pairs, starts = problem
    search = Search(pairs, BUDGET)
    drive([improved(algorithm, search, starts)], real_teacher.teacher)
    assert search.asked.max() <= BUDGET
    assert (real_teacher.teacher.decide(search.best.view(-1, *SHAPE)) == pairs.targets).all()
    before = after_bd(real_teacher, pairs, starts)
    assert (search.distance <= before).all()
    assert search.distance.mean() < 0.93 * before.mean()


@pytest.mark.parametrize("algorithm", [hop, circles])
def test_a_pair_alone_finds_the_same_bits_and_its_answers_replay(
    real_teacher: RealTeacher, problem: tuple[Pairs, Tensor], algorithm: Algorithm
) -> None:
    pairs, starts = problem
    together = Search(pairs, BUDGET)
    drive([improved(algorithm, together, starts)], real_teacher.teacher)
    rows = torch.tensor([7])
    alone, again = Search(some(pairs, rows), BUDGET), Search(some(pairs, rows), BUDGET)
    (answers,) = drive([improved(algorithm, alone, starts[rows])], real_teacher.teacher)
    assert torch.equal(alone.best, together.best[rows])
    assert replay(improved(algorithm, again, starts[rows]), answers) == len(answers)
    assert torch.equal(again.best, alone.best)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "budget"), [("guided", 25), ("auto", 80)])
def test_a_surrogate_of_few_decisions_finds_nearer_points_than_bd_with_few_queries(
    real_teacher: RealTeacher, name: MethodName, budget: int
) -> None:
    surrogate = SurrogateSettings("lenet5_half", networks=2, steps=120, retrain=40, batch=64)
    pool, rows = real_teacher.pool, range(5)
    settings = SearchSettings(name, budget, points=9)
    found = search_distances(real_teacher.teacher, pool, rows, settings, surrogate=surrogate)
    assert found.asked.max() <= budget
    assert np.isfinite(found.distances).all()
    decided = real_teacher.teacher.decide(torch.from_numpy(found.points).float() / 255).numpy()
    assert (decided == found.point_pairs[:, 1]).mean() > 0.7  # a point is rounded to 1/255, so not always across
    bd = search_distances(real_teacher.teacher, pool, rows, SearchSettings("bd", BUDGET))
    assert found.distances.sum() < 0.9 * bd.distances.sum()
