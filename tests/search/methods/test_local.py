"""Local search and the history it learns from."""

import numpy as np
import pytest
import torch

from db3.search.driver import drive
from db3.search.ledger import Asks, Log, Pairs, Search
from db3.search.methods.bd import boundary_distance
from db3.search.methods.local import LocalSettings, local
from db3.search.starts import nearest_starts
from db3.search.surrogate.history import History
from db3.search.surrogate.surrogate import Answers, Surrogate, SurrogateSettings
from tests.search.conftest import RealTeacher

SHAPE = (1, 16, 16)


@pytest.fixture(scope="module")
def surrogate(real_teacher: RealTeacher) -> Surrogate:
    pool = real_teacher.pool
    surrogate = Surrogate(SHAPE, 10, SurrogateSettings(networks=2, steps=80, basis=60))
    surrogate.learn(Answers(torch.from_numpy(pool.images).flatten(1), torch.from_numpy(pool.decisions)))
    return surrogate


def problem(real: RealTeacher, count: int = 20) -> tuple[Pairs, torch.Tensor]:
    pool = real.pool
    targets = (pool.decisions[:count] + 1 + np.arange(count) % 9) % 10
    nearest, _ = nearest_starts(pool.images[:count], pool.images, pool.decisions, 10, 1)
    pixels = torch.from_numpy(pool.images).float().flatten(1) / 255
    parts = (pixels[:count], torch.from_numpy(pool.decisions[:count]), torch.from_numpy(targets), torch.arange(count))
    return Pairs(*parts, SHAPE), pixels[nearest[np.arange(count), targets, 0]]


def searched(
    real: RealTeacher,
    surrogate: Surrogate,
    budget: int,
    levels: int = 0,
    error: float = LocalSettings.error,
) -> Search:
    pairs, starts = problem(real)
    search = Search(pairs, budget, levels=levels)

    def asks() -> Asks:
        yield from boundary_distance(search, starts[:, None], 0.02)
        yield from local(search, surrogate, LocalSettings(room=64, error=error))

    drive([asks()], real.teacher)
    return search


@pytest.mark.parametrize("budget", [0, 1, 7, 20, 90])
def test_a_budget_is_kept_and_what_is_found_is_decided_k(
    real_teacher: RealTeacher, surrogate: Surrogate, budget: int
) -> None:
    search = searched(real_teacher, surrogate, budget)
    assert int(search.asked.max()) <= budget
    known = torch.isfinite(search.distance)
    decided = real_teacher.teacher.decide(search.best.view(-1, *SHAPE))
    assert (decided == search.pairs.targets)[known].all()


def test_it_improves_on_bd_and_spends_most_of_its_budget(real_teacher: RealTeacher, surrogate: Surrogate) -> None:
    pairs, starts = problem(real_teacher)
    before = Search(pairs, 90)
    drive([boundary_distance(before, starts[:, None], 0.02)], real_teacher.teacher)
    after = searched(real_teacher, surrogate, 90)
    assert after.distance.mean() < 0.85 * before.distance.mean()
    assert int(after.asked.min()) > 70


def test_answers_that_outweigh_the_surrogates_come_nearer(real_teacher: RealTeacher, surrogate: Surrogate) -> None:
    narrow = searched(real_teacher, surrogate, 90, error=0.4)
    assert searched(real_teacher, surrogate, 90).distance.mean() < 0.98 * narrow.distance.mean()


def test_a_teacher_of_256_levels_is_asked_levels_and_still_improves(
    real_teacher: RealTeacher, surrogate: Surrogate
) -> None:
    search = searched(real_teacher, surrogate, 90, levels=256)
    scaled = search.best * 255
    assert torch.allclose(scaled, scaled.round(), atol=1e-4)
    assert search.distance.mean() < searched(real_teacher, surrogate, 14, levels=256).distance.mean()


def test_a_history_keeps_the_last_answers_of_each_pair(real_teacher: RealTeacher, surrogate: Surrogate) -> None:
    pairs, _ = problem(real_teacher, 3)
    search = Search(pairs, 100)
    search.log = Log(pairs)
    history = History(search, surrogate, room=4)
    images = (torch.rand(7, 3, 256, generator=torch.Generator().manual_seed(0)) * 255).round() / 255
    told = [pairs.targets[:1], torch.tensor([0])]
    for turn in range(7):  # pair 2 is asked every time, the others less often
        rows = torch.tensor([2, 0] if turn % 2 else [2])
        search.asked[rows] += 1
        decisions = torch.stack([pairs.targets[2], *told[0][: len(rows) - 1]])[:, None]
        search.log.add(rows, search.asked[rows], images[turn, rows][:, None], decisions)
        if turn in (2, 6):
            history.update()
    kept = [{tuple(image.tolist()) for image in history.images[row][history.answers[row] != 0]} for row in range(3)]
    levels = (images * 255).round().to(torch.uint8)
    assert kept[2] == {tuple(levels[turn, 2].tolist()) for turn in (3, 4, 5, 6)}
    assert kept[0] == {tuple(levels[turn, 0].tolist()) for turn in (1, 3, 5)}
    assert kept[1] == set()
    assert (history.answers[2] == 1).all()
    exact = surrogate.value(surrogate.pixels(history.images[2]), pairs.targets[2].expand(4))
    assert torch.allclose(history.margins[2], exact, atol=1e-5)
