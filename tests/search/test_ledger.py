"""The ledger: queries counted where they arise, the best point kept, distances of what the teacher saw."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from db3.search.driver import drive
from db3.search.ledger import Asks, Search
from db3.search.methods.bd import boundary_distance
from db3.search.methods.mbd import minimal_boundary_distance
from tests.search.problems import Constant, Recording, block, drawn, half_space, run


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


def _along(search: Search, rows: list[int], directions: Tensor, reach: Tensor) -> Asks:
    yield from search.along(torch.tensor(rows, dtype=torch.int64), directions, reach)


def test_along_asks_for_the_point_at_that_distance() -> None:
    teacher = Recording(half_space((1, 1, 2)))
    images = torch.tensor([[[[0.1, 0.2]]], [[[0.3, 0.1]]]])
    search = Search(block(images), 10)
    run(teacher, _along(search, [1], torch.tensor([[0.6, 0.8]]), torch.tensor([0.9])))
    assert teacher.calls[0].flatten().tolist() == pytest.approx([0.3 + 0.54, 0.1 + 0.72])
    assert search.asked.tolist() == [0, 1]
    assert search.distance.tolist() == [torch.inf, pytest.approx(0.9)]


@pytest.mark.parametrize(("count", "queries"), [(0, 5), (1, 5), (7, 1), (1000, 3), (3, 10**9)])
def test_pieces_hold_every_row_once_in_order(count: int, queries: int) -> None:
    search = Search(block(drawn(2, 1, 64, 64)), 10)
    rows = torch.arange(count)
    pieces = [rows[piece] for piece in search.pieces(count, queries)]
    assert torch.equal(torch.cat(pieces), rows)
    assert all(len(piece) == 1 or len(piece) * queries * 4096 <= 2**19 for piece in pieces if count)


def test_an_ask_in_pieces_gives_the_same_answers() -> None:
    """The cut of a gradient's probes is for the cache alone."""
    found = []
    for size in (2**19, 700):
        search = Search(block(drawn(9, 1, 8, 8) * 0.4), 60)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("db3.search.ledger._PIECE", {"cpu": size})
            search.know(torch.arange(9), 0.6 + 0.4 * drawn(9, 64, seed=4))
            (answers,) = drive(iter([minimal_boundary_distance(search, 0, 10, 0.1, 0.2, 0.01)]), half_space())
        found.append((answers, search.distance, search.best))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_search_lives_where_its_images_are(device: str) -> None:
    """The same teacher, the same answers and distances on every device, and nothing moved between them."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    teacher = half_space()

    class There(Recording):
        def decide(self, images: Tensor) -> Tensor:
            assert images.device.type == device
            return super().decide(images.cpu()).to(images.device)

    pairs = block(drawn(6, 1, 8, 8) * 0.4)
    here = Search(pairs, 60)
    moved = replace(
        pairs, **{name: getattr(pairs, name).to(device) for name in ("images", "decisions", "targets", "samples")}
    )
    there = Search(moved, 60, checkpoints=(5, 20))
    starts = 0.6 + 0.4 * drawn(6, 1, 64, seed=4)

    def asks(search: Search) -> Asks:
        yield from boundary_distance(search, starts.to(search.device), 0.01)
        yield from minimal_boundary_distance(search, 0, 10, 0.1, 0.2, 0.01, cell=2)

    (expected,) = drive(iter([asks(here)]), teacher)
    (answers,) = drive(iter([asks(there)]), There(teacher))
    assert torch.equal(answers, expected)
    assert answers.device.type == "cpu"
    assert there.best.device.type == there.curve.device.type == device
    assert torch.equal(there.distance.cpu(), here.distance)
