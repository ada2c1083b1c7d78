"""The untargeted boundary: every decision but the own one counts, exact distances are neared, nothing is shared."""

import numpy as np
import pytest
import torch
from torch import Tensor

from db3.search.driver import drive
from db3.search.ledger import Asks, Pairs, Search
from db3.search.methods.untargeted import Descent, untargeted_boundary
from db3.teachers.base import Teacher
from db3.testing.analytic import Analytic
from tests.search.problems import GREY, SMALL, TEACHERS, Recording, brightest, half_space, pool, run, truth

NONE = torch.nan


def _pairs(images: Tensor, decisions: Tensor, first: int = 0, key: int = 0) -> Pairs:
    return Pairs(
        images=images.flatten(1),
        decisions=decisions,
        targets=torch.full_like(decisions, key),
        samples=torch.arange(first, first + len(images)),
        shape=tuple(images.shape[1:]),
        untargeted=True,
    )


def _others(images: Tensor, decisions: Tensor, count: int = 2) -> Tensor:
    """The nearest `count` images decided otherwise, by brute force."""
    flat = images.flatten(1).double()
    distance = torch.cdist(flat, flat).masked_fill(decisions[:, None] == decisions, torch.inf)
    return images.flatten(1)[distance.topk(count, largest=False).indices]


def _problem(teacher: Analytic, count: int = 12) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images, decisions, starts, and the exact distance to any other class."""
    samples = pool(teacher, 40)
    images, decisions = torch.from_numpy(samples.images).float() / 255, torch.from_numpy(samples.decisions)
    exact = truth(teacher, samples)
    exact[np.arange(40), samples.decisions] = np.inf
    starts = _others(images, decisions)
    return images[:count], decisions[:count], starts[:count], torch.from_numpy(exact.min(axis=1))[:count]


def _search(teacher: Teacher, images: Tensor, decisions: Tensor, starts: Tensor, budget: int, **how: int) -> Search:
    search = Search(_pairs(images, decisions, **how), budget, levels=teacher.spec.levels)
    known = torch.full_like(search.pairs.images, NONE)
    run(teacher, untargeted_boundary(search, known, starts, 0, Descent()))
    return search


def test_every_decision_but_the_own_is_a_hit() -> None:
    pairs = _pairs(torch.zeros(2, 1, 1, 2), torch.tensor([1, 2]))
    rows, decisions = torch.tensor([1, 0]), torch.tensor([[0, 1, 2], [0, 1, 2]])
    assert pairs.hits(rows, decisions).tolist() == [[True, True, False], [True, False, True]]


@pytest.mark.parametrize("name", TEACHERS)
def test_no_distance_is_below_the_exact_one_and_every_point_is_decided_otherwise(name: str) -> None:
    teacher = TEACHERS[name]()
    images, decisions, starts, exact = _problem(teacher)
    search = _search(teacher, images, decisions, starts, 90)
    assert (search.distance.double() >= exact * (1 - 1e-6)).all()
    assert (teacher.decide(search.best.view_as(images)) != decisions).all()
    assert (search.asked <= 90).all()


def test_in_nine_dimensions_the_nearest_of_several_classes_is_neared() -> None:
    teacher = brightest(SMALL, 3)
    images, decisions, starts, exact = _problem(teacher)
    near = (exact > 0.05) & (exact < 0.25)  # farther ones leave the bounds
    ratio = (_search(teacher, images, decisions, starts, 300).distance / exact)[near]
    assert len(ratio) >= 4
    assert float(ratio.median()) < 1.1


def test_the_excess_falls_with_the_budget() -> None:
    images, decisions, starts, exact = _problem(half_space())
    far = exact > 0.05
    excess = [
        float((_search(half_space(), images, decisions, starts, budget).distance / exact)[far].mean()) - 1
        for budget in (15, 120, 500)
    ]
    assert excess == sorted(excess, reverse=True)
    assert excess[2] < 0.5 * excess[0]


def test_a_known_point_costs_nothing_and_is_improved() -> None:
    teacher = Recording(half_space(SMALL))
    images = torch.full((1, *SMALL), 0.3)
    known, starts = torch.full((1, 9), 0.9), torch.full((1, 1, 9), NONE)
    idle = Search(_pairs(images, torch.tensor([0])), 0)
    run(teacher, untargeted_boundary(idle, known, starts, 0, Descent()))
    assert teacher.asked == 0
    assert float(idle.distance) == pytest.approx(1.8)
    search = Search(_pairs(images, torch.tensor([0])), 60)
    run(teacher, untargeted_boundary(search, known, starts, 0, Descent()))
    assert float(search.distance) < 0.7
    assert teacher.asked == int(search.asked)


def test_a_sample_without_a_start_asks_nothing() -> None:
    teacher = Recording(half_space(SMALL))
    images = torch.full((1, *SMALL), 0.3)
    search = _search(teacher, images, torch.tensor([0]), torch.full((1, 1, 9), NONE), 60)
    assert teacher.asked == 0
    assert not torch.isfinite(search.distance).any()


@pytest.mark.parametrize("size", [1, 5])
def test_one_at_a_time_and_all_together_give_the_same_bits(size: int) -> None:
    teacher = brightest()
    images, decisions, starts, _ = _problem(teacher)
    together = _search(teacher, images, decisions, starts, 70)
    searches = []

    def asks() -> list[Asks]:
        made = []
        for first in range(0, len(images), size):
            part = slice(first, first + size)
            search = Search(_pairs(images[part], decisions[part], first), 70)
            searches.append(search)
            known = torch.full_like(search.pairs.images, NONE)
            made.append(untargeted_boundary(search, known, starts[part], 0, Descent()))
        return made

    drive(asks(), teacher, in_flight=3)
    assert torch.equal(torch.cat([search.distance for search in searches]), together.distance)
    assert torch.equal(torch.cat([search.best for search in searches]), together.best)
    assert torch.equal(torch.cat([search.asked for search in searches]), together.asked)


def test_the_key_decides_the_directions() -> None:
    images, decisions, starts, _ = _problem(brightest(GREY))
    found = [_search(brightest(GREY), images, decisions, starts, 60, key=key).distance.tolist() for key in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
