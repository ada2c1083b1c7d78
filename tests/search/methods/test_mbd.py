"""MBD against exact distances: never below them, and near them with enough queries."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from db3.search import SearchSettings, search_distances
from db3.search.ledger import Asks, Search
from db3.search.methods.bd import boundary_distance
from db3.search.methods.mbd import minimal_boundary_distance
from db3.teachers.base import Teacher
from db3.testing.analytic import Analytic, HalfSpace, Shells
from tests.search.problems import (
    GREY,
    SMALL,
    TEACHERS,
    Recording,
    block,
    brightest,
    drawn,
    half_space,
    pool,
    run,
    sphere,
    truth,
)


def _search(teacher: Teacher, images: Tensor, starts: Tensor, budget: int, **changed: float) -> Search:
    """BD, then MBD, with the settings of the default experiment but for those `changed`."""
    settings = {"seed": 0, "directions": 20, "smoothing": 0.1, "step": 0.2, "tolerance": 0.01, "cell": 1, **changed}
    search = Search(block(images), budget)

    def asks() -> Asks:
        yield from boundary_distance(search, starts, settings["tolerance"])
        yield from minimal_boundary_distance(search, **settings)

    run(teacher, asks())
    return search


@pytest.mark.parametrize("name", TEACHERS)
def test_no_distance_is_below_the_exact_one(name: str) -> None:
    teacher = TEACHERS[name]()
    images = pool(teacher, 40)
    found = search_distances(teacher, images, range(12), SearchSettings("mbd", budget=90, starts=2, cell=1)).distances
    assert (found >= truth(teacher, images)[:12] * (1 - 1e-6)).all()


@pytest.mark.parametrize("name", TEACHERS)
def test_it_goes_on_where_bd_ends(name: str) -> None:
    """At the same budget no pair is worse, and the mean excess over the exact distance falls."""
    teacher = TEACHERS[name]()
    images = pool(teacher, 40)
    exact = truth(teacher, images)[:12]
    by_bd = search_distances(teacher, images, range(12), SearchSettings("bd", budget=150)).distances
    by_mbd = search_distances(teacher, images, range(12), SearchSettings("mbd", budget=150, cell=1)).distances
    assert (by_mbd <= by_bd).all()
    other = exact > 0.05
    excess = [float((found[other] / exact[other] - 1).mean()) for found in (by_bd, by_mbd)]
    assert excess[1] < 0.8 * excess[0]


def _grey_to_bright(shape: tuple[int, int, int], count: int) -> tuple[Tensor, Tensor]:
    """Images and start samples in the middle greys, so that the nearest boundary point lies within the bounds."""
    images = 0.25 + 0.15 * drawn(count, *shape, seed=5)
    starts = 0.6 + 0.25 * drawn(count, 1, images[0].numel(), seed=6)
    return images, starts


@pytest.mark.parametrize(
    ("make", "factor"), [(half_space, 1.05), (lambda shape: Shells(torch.full(shape, 0.8), (0.9,)), 1.05)]
)
def test_in_nine_dimensions_300_queries_come_within_a_twentieth(
    make: Callable[[tuple[int, int, int]], Analytic], factor: float
) -> None:
    """Half-space, and the inside of a sphere from outside: both with their exact nearest point within the bounds."""
    teacher = make(SMALL)
    images, starts = _grey_to_bright(SMALL, 20)
    target = int(teacher.decide(starts.view(-1, *SMALL))[0])
    assert (teacher.decide(starts.view(-1, *SMALL)) == target).all()
    assert (teacher.decide(images) != target).all()
    search = Search(block(images, target), 300)

    def asks() -> Asks:
        yield from boundary_distance(search, starts, 0.01)
        yield from minimal_boundary_distance(search, 0, 20, 0.1, 0.2, 0.01)

    run(teacher, asks())
    ratio = search.distance / teacher.distance(images, target)
    assert float(ratio.max()) < factor
    assert float(ratio.min()) > 1 - 1e-6


def test_the_excess_falls_with_the_budget() -> None:
    images, starts = _grey_to_bright(GREY, 36)
    teacher = half_space(GREY)
    exact = teacher.distance(images, 1)
    excess = [
        float((_search(teacher, images, starts, budget).distance / exact - 1).mean()) for budget in (12, 100, 300, 700)
    ]
    assert excess == sorted(excess, reverse=True)
    assert excess[1] < 0.75 * excess[0]
    assert excess[3] < 0.08


def test_from_inside_a_sphere_the_nearest_way_out_is_found() -> None:
    """A concave boundary: the start samples lie in all directions, the nearest point in one."""
    teacher = sphere(SMALL)
    images = 0.5 + 0.25 * (drawn(12, *SMALL, seed=8) - 0.5)
    starts = (drawn(12, 1, 9, seed=9) > 0.5).float()
    assert (teacher.decide(images) == 0).all()
    ratio = _search(teacher, images, starts, 300).distance / teacher.distance(images, 1)
    assert float(ratio.min()) > 1 - 1e-6
    assert float(ratio.median()) < 1.1


def test_cells_help_where_the_boundary_is_smooth() -> None:
    """Low-frequency directions: a half-space along the mean brightness is found with a fraction of the dimensions."""
    teacher = HalfSpace(torch.ones(1, 8, 8), 32.0)
    images, starts = _grey_to_bright(GREY, 20)
    starts = 0.1 + 0.9 * (starts > 0.68)
    exact = teacher.distance(images, 1)
    by_cell = [float((_search(teacher, images, starts, 100, cell=cell).distance / exact).mean()) for cell in (1, 4)]
    assert by_cell[1] - 1 < 0.5 * (by_cell[0] - 1)


def test_the_seed_decides_the_directions() -> None:
    teacher, images = brightest(), pool(brightest(), 30)
    found = [
        search_distances(teacher, images, range(5), SearchSettings("mbd", 60, seed=seed, cell=1)).distances.tolist()
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1] != found[2]


def test_every_best_point_is_decided_k_at_the_distance_claimed() -> None:
    teacher = brightest(SMALL, 3)
    images, starts = drawn(12, *SMALL, seed=2), torch.eye(9)[None, 3:6].expand(12, 3, 9)
    target = 1
    outside = teacher.decide(images) != target
    search = _search(teacher, images[outside], starts[outside], 120)
    assert (teacher.decide(search.best.view(-1, *SMALL)) == target).all()
    assert ((search.best >= 0) & (search.best <= 1)).all()
    claimed = (search.best.double() - images[outside].flatten(1)).norm(dim=1)
    assert torch.allclose(search.distance.double(), claimed, rtol=1e-6)


@pytest.mark.parametrize("tolerance", [0.01, 2.5e-7])
def test_in_one_dimension_a_long_search_asks_only_images(tolerance: float) -> None:
    """Every improving direction is the same one here: a step size that doubled for ever would end in NaN."""
    teacher = HalfSpace(torch.ones(1, 1, 1), 0.5)
    recording, images = Recording(teacher), 0.1 + 0.2 * drawn(5, 1, 1, 1)
    search = _search(recording, images, torch.full((5, 1, 1), 0.9), 600, tolerance=tolerance)
    assert all(torch.isfinite(call).all() for call in recording.calls)
    assert float((search.distance / teacher.distance(images, 1)).max()) < 1.02


@pytest.mark.parametrize(("step", "smoothing"), [(1.0, 0.1), (0.5, 1.0), (100.0, 100.0)])
def test_directions_that_cancel_ask_no_nan(step: float, smoothing: float) -> None:
    """In one dimension θ − α·ĝ and θ + ε·û are exactly zero for such settings."""
    teacher = Recording(HalfSpace(torch.ones(1, 1, 1), 0.5))
    search = _search(
        teacher,
        torch.full((4, 1, 1, 1), 0.25),
        torch.full((4, 1, 1), 0.75),
        60,
        directions=1,
        step=step,
        smoothing=smoothing,
    )
    assert all(torch.isfinite(call).all() for call in teacher.calls)
    assert torch.isfinite(search.distance).all()


def test_a_search_that_finds_nothing_better_ends_before_its_budget() -> None:
    """Smoothing halves after each estimate without progress, and a vanished smoothing is the end."""
    teacher = Recording(HalfSpace(torch.ones(1, 1, 1), 0.5))
    search = _search(teacher, torch.full((1, 1, 1, 1), 0.25), torch.full((1, 1, 1), 0.5001), 100_000, tolerance=1e-4)
    assert int(search.asked) == teacher.asked < 1000


def test_an_estimate_that_cannot_be_paid_whole_is_not_begun() -> None:
    """BD takes b queries; 20 directions and one step need 21 more."""
    images, starts = _grey_to_bright(GREY, 1)
    by_bd = int(_search(half_space(GREY), images, starts, 1000, directions=1000).asked)
    asked = [int(_search(half_space(GREY), images, starts, by_bd + left).asked) for left in (20, 21)]
    assert asked == [by_bd, by_bd + 21]


def test_the_distance_zero_is_final() -> None:
    """A sample that lies in class k itself needs no search and gives no direction."""
    teacher = Recording(half_space(SMALL))
    images = torch.full((1, *SMALL), 0.3)
    search = _search(teacher, images, images.view(1, 1, 9), 100)
    assert float(search.distance) == teacher.asked == 0
