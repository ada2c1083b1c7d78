"""Bisection and galloping on rays whose crossing is known."""

import pytest
import torch
from torch import Tensor

from db3.search.bisection import bisect, gallop
from db3.search.ledger import Asks, Search
from db3.testing.analytic import HalfSpace
from tests.search.problems import Recording, block, run

CROSSINGS = (0.05, 0.3, 0.5, 0.77, 0.999)


def _right_of(crossing: float = 0.5) -> HalfSpace:
    """Images of one row of two pixels; class 1 where the first is brighter than `crossing`."""
    return HalfSpace(torch.tensor([[[1.0, 0.0]]]), crossing)


def _black(count: int = 1) -> Tensor:
    return torch.zeros(count, 1, 1, 2)


def _bisect(crossing: float, tolerance: float, budget: int) -> tuple[Search, float]:
    """Bisect from black towards a bright first pixel."""
    search, ends = Search(block(_black()), budget), []
    search.know(torch.tensor([0]), torch.tensor([[1.0, 0.0]]))

    def asks() -> Asks:
        rows, ray = torch.tensor([0]), torch.tensor([[1.0, 0.0]])
        ends.append((yield from bisect(search, rows, ray, torch.zeros(1), torch.ones(1), tolerance)))

    run(_right_of(crossing), asks())
    return search, float(ends[0])


@pytest.mark.parametrize("crossing", CROSSINGS)
@pytest.mark.parametrize("tolerance", [0.1, 0.01, 1e-4])
def test_bisection_ends_inside_class_k_within_the_tolerance(crossing: float, tolerance: float) -> None:
    search, end = _bisect(crossing, tolerance, budget=100)
    assert crossing < end <= crossing * (1 + 2 * tolerance)
    assert float(search.distance) == end


@pytest.mark.parametrize("crossing", CROSSINGS)
def test_float32_ends_a_bisection_that_no_tolerance_does(crossing: float) -> None:
    search, end = _bisect(crossing, tolerance=0.0, budget=10_000)
    before = torch.nextafter(torch.tensor(end), torch.tensor(0.0))
    assert float(before) <= crossing < end
    assert int(search.asked) < 200


@pytest.mark.parametrize("budget", [0, 1, 5])
def test_bisection_stops_with_the_budget_and_keeps_what_it_has(budget: int) -> None:
    search, end = _bisect(0.3, tolerance=1e-6, budget=budget)
    assert int(search.asked) == budget
    assert 0.3 < end <= 0.3 + 2.0**-budget


def test_bisection_asks_no_more_than_halving_needs() -> None:
    search, _ = _bisect(0.5001, tolerance=1 / 64, budget=100)
    assert int(search.asked) == 7  # the bracket halves from 1 to 1/128 < 1/64 of its inner end


def test_pairs_of_one_bisection_end_on_their_own() -> None:
    """Brackets of three widths side by side give what each gives alone, for as many queries."""
    rays, insides = torch.eye(2)[[0, 0, 0]], torch.tensor([1.0, 0.52, 0.501])

    def both(rows: list[int]) -> Search:
        search = Search(block(_black(len(rows))), 100)

        def asks() -> Asks:
            yield from bisect(
                search, torch.arange(len(rows)), rays[rows], torch.zeros(len(rows)), insides[rows], tolerance=0.001
            )

        run(_right_of(), asks())
        return search

    together = both([0, 1, 2])
    for row in range(3):
        alone = both([row])
        assert together.distance[row] == alone.distance[0]
        assert together.asked[row] == alone.asked[0]


def _gallop(start: float, tolerance: float, budget: int = 1000) -> tuple[Search, Recording]:
    teacher, search = Recording(_right_of()), Search(block(_black()), budget)
    search.know(torch.tensor([0]), torch.tensor([[start, 0.0]]))

    def asks() -> Asks:
        yield from gallop(search, torch.tensor([0]), torch.tensor([[1.0, 0.0]]), torch.tensor([start]), tolerance)

    run(teacher, asks())
    return search, teacher


@pytest.mark.parametrize("start", [0.501, 0.52, 0.7, 1.0])
def test_galloping_reaches_the_boundary_within_the_tolerance(start: float) -> None:
    search, _ = _gallop(start, tolerance=0.01)
    assert 0.5 < float(search.distance) <= 0.5 * 1.02


@pytest.mark.parametrize("start", [0.5001, 0.501, 0.502, 0.503, 0.504])
def test_galloping_costs_a_query_or_two_where_nothing_can_be_gained(start: float) -> None:
    """One stride leaves the class; whether the bracket is then wider than the tolerance is up to its last bit."""
    search, _ = _gallop(start, tolerance=0.01)
    assert int(search.asked) <= 2


def test_galloping_doubles_its_strides_and_bisects_the_last() -> None:
    _, teacher = _gallop(1.0, tolerance=0.01)
    asked = [float(call[0, 0, 0, 0]) for call in teacher.calls]
    assert asked[:6] == pytest.approx([0.99, 0.97, 0.93, 0.85, 0.69, 0.37])
    assert asked[6] == pytest.approx((0.69 + 0.37) / 2)
    assert all(0.37 < value < 0.69 for value in asked[6:])


def test_galloping_to_a_sample_at_its_own_boundary_ends() -> None:
    """Nothing on the way is decided otherwise: the strides end before the sample itself."""
    search = Search(block(_black()), 1000)

    def asks() -> Asks:
        yield from gallop(search, torch.tensor([0]), torch.tensor([[1.0, 0.0]]), torch.tensor([1.0]), 0.01)

    run(_right_of(-1.0), asks())
    assert int(search.asked) < 200
    assert float(search.distance) < 0.01


@pytest.mark.parametrize("budget", [0, 1, 3, 7])
def test_galloping_stops_with_the_budget(budget: int) -> None:
    search, teacher = _gallop(1.0, tolerance=0.001, budget=budget)
    assert int(search.asked) == teacher.asked == budget
