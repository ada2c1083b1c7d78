"""The ledger: queries counted where they arise, the best point kept, distances of what the teacher saw."""

import pytest
import torch
from torch import Tensor

from db3.decisions.search import Asks, Search
from tests.decisions.problems import Constant, Recording, block, drawn, half_space, run


def _ask(search: Search, rows: list[int], points: Tensor) -> Asks:
    yield from search.ask(torch.tensor(rows, dtype=torch.int64), points)


def test_a_distance_is_that_of_the_clipped_image() -> None:
    """A ray that leaves the bounds: the teacher saw the clipped point, which is nearer than the ray says."""
    teacher, search = Recording(Constant(1, (1, 1, 2))), Search(block(torch.full((1, 1, 1, 2), 0.5)), 10)
    run(teacher, _ask(search, [0], torch.tensor([[[0.5 + 3.0, 0.5 - 0.4]]])))
    seen = teacher.calls[0].flatten()
    assert seen.tolist() == pytest.approx([1.0, 0.1])
    assert float(search.distance) == pytest.approx((0.5**2 + 0.4**2) ** 0.5)
    assert torch.equal(search.best[0], seen)


def test_the_nearest_hit_of_an_ask_stands_and_misses_do_not() -> None:
    teacher = half_space((1, 1, 2))
    search = Search(block(torch.zeros(1, 1, 1, 2)), 10)
    points = torch.tensor([[[1.0, 1.0], [0.8, 0.8], [0.9, 0.7], [0.1, 0.1]]])
    decisions = teacher.decide(points[0].view(-1, 1, 1, 2)).tolist()
    assert decisions == [1, 1, 1, 0]
    run(teacher, _ask(search, [0], points))
    assert search.best[0].tolist() == pytest.approx([0.8, 0.8])
    assert int(search.asked) == 4


def test_a_worse_hit_changes_nothing() -> None:
    search = Search(block(torch.zeros(1, 1, 1, 2)), 10)
    run(Constant(1, (1, 1, 2)), _ask(search, [0], torch.tensor([[[0.5, 0.0]]])))
    run(Constant(1, (1, 1, 2)), _ask(search, [0], torch.tensor([[[0.7, 0.0]]])))
    assert float(search.distance) == 0.5
    assert int(search.asked) == 2


def test_only_the_pairs_own_class_is_a_hit() -> None:
    targets = torch.tensor([1, 2])
    search = Search(block(torch.zeros(2, 1, 1, 2), targets), 10)
    run(Constant(2, (1, 1, 2)), _ask(search, [0, 1], torch.full((2, 1, 2), 0.5)))
    assert search.distance.tolist() == pytest.approx([torch.inf, 0.5**0.5])


def test_knowing_costs_no_query() -> None:
    search = Search(block(torch.zeros(2, 1, 1, 2)), budget=0)
    search.know(torch.tensor([1]), torch.tensor([[0.6, 0.8]]))
    assert search.distance.tolist() == [torch.inf, pytest.approx(1.0)]
    assert search.asked.tolist() == [0, 0]
    assert search.direction(torch.tensor([1])).tolist() == [pytest.approx([0.6, 0.8])]


def test_asking_for_no_pair_asks_nothing() -> None:
    teacher, search = Recording(Constant(1)), Search(block(drawn(1, 1, 8, 8)), 10)
    run(teacher, _ask(search, [], torch.empty(0, 1, 64)))
    assert teacher.asked == 0


def test_affordable_counts_what_is_left_of_each_pair() -> None:
    search = Search(block(torch.zeros(3, 1, 1, 2)), budget=4)
    run(Constant(0, (1, 1, 2)), _ask(search, [1], torch.rand(1, 3, 2)), _ask(search, [2], torch.rand(1, 4, 2)))
    assert search.asked.tolist() == [0, 3, 4]
    assert search.affordable(1).tolist() == [True, True, False]
    assert search.affordable(2).tolist() == [True, False, False]


def test_checkpoints_keep_the_distance_known_then() -> None:
    """Queries 1 … 4 find 0.9, nothing, 0.5, 0.3; several queries at once count as one step."""
    teacher = half_space((1, 1, 2))
    search = Search(block(torch.zeros(1, 1, 1, 2)), 10, checkpoints=(0, 1, 2, 3, 9))
    search.know(torch.tensor([0]), torch.tensor([[1.0, 1.0]]))
    for reach in (0.9, 0.1, 0.8):
        run(teacher, _ask(search, [0], torch.full((1, 1, 2), reach)))
    known = [1.0, 0.9, 0.9, 0.8, 0.8]
    assert search.curve[0].tolist() == pytest.approx([reach * 2**0.5 for reach in known])
    run(teacher, _ask(search, [0], torch.full((1, 3, 2), 0.7)))
    known = [1.0, 0.9, 0.9, 0.8, 0.7]
    assert search.curve[0].tolist() == pytest.approx([reach * 2**0.5 for reach in known])
