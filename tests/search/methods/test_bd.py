"""BD against segments whose crossing is known."""

import numpy as np
import pytest
import torch

from db3.search import SearchSettings, search_distances
from db3.search.ledger import Search
from db3.search.methods.bd import boundary_distance
from tests.search.problems import TEACHERS, Constant, Recording, block, drawn, half_space, pool, run, truth

SHAPE = (1, 4, 4)


def test_on_a_half_space_the_crossing_of_the_segment_is_found() -> None:
    teacher = half_space(SHAPE)
    images, starts = drawn(30, *SHAPE, seed=1) * 0.4, 0.6 + 0.4 * drawn(30, 1, 16, seed=2)
    search = Search(block(images), 100)
    run(teacher, boundary_distance(search, starts, tolerance=0.001))
    segment = starts[:, 0].double() - images.flatten(1).double()
    slope = segment @ teacher.normal.double().flatten() / teacher.normal.double().norm()
    crossing = teacher.distance(images, 1) / slope * segment.norm(dim=1)
    ratio = search.distance / crossing
    assert (ratio >= 1 - 1e-6).all()
    assert (ratio <= 1 + 0.0011).all()


@pytest.mark.parametrize("name", TEACHERS)
def test_no_distance_is_below_the_exact_one_or_above_the_nearest_sample(name: str) -> None:
    teacher = TEACHERS[name]()
    images = pool(teacher, 60)
    exact = truth(teacher, images)
    nearest = search_distances(teacher, images, range(30), SearchSettings("sd")).distances
    found = search_distances(teacher, images, range(30), SearchSettings("bd", budget=20, starts=2)).distances
    assert (found >= exact[:30] * (1 - 1e-6)).all()
    assert (found <= nearest).all()
    assert (found < nearest).mean() > 0.3


def test_more_starts_never_make_a_distance_larger() -> None:
    teacher = half_space()
    images = pool(teacher, 60)
    found = [
        search_distances(teacher, images, range(20), SearchSettings("bd", budget=100, starts=starts)).distances
        for starts in (1, 2, 5)
    ]
    assert (found[1] <= found[0]).all()
    assert (found[2] <= found[1]).all()
    assert (found[2] < found[0]).any()


def test_a_farther_start_is_first_probed_at_the_distance_known() -> None:
    """A hit there is worth a bisection of the rest; the second ray here crosses at 0.3 instead of 0.5."""

    class Either(Constant):
        def decide(self, images: torch.Tensor) -> torch.Tensor:
            first, second = images.flatten(1).unbind(dim=1)
            return ((first > 0.5) | (second > 0.3)).long()

    starts = torch.tensor([[[0.6, 0.0], [0.0, 1.0]]])
    teacher = Recording(Either(0, (1, 1, 2)))
    first, both = Search(block(torch.zeros(1, 1, 1, 2)), 100), Search(block(torch.zeros(1, 1, 1, 2)), 100)
    run(teacher, boundary_distance(first, starts[:, :1], tolerance=0.01))
    teacher.calls.clear()
    run(teacher, boundary_distance(both, starts, tolerance=0.01))
    assert 0.5 < float(first.distance) <= 0.5 * 1.01
    probe = teacher.calls[int(first.asked)].flatten().tolist()
    assert probe == [0, float(first.distance)]
    assert 0.3 < float(both.distance) <= 0.3 * 1.011


def test_a_start_that_the_teacher_does_not_confirm_costs_one_query() -> None:
    """Rays to a second start that leaves class k behind the distance known."""
    teacher = Recording(half_space((1, 1, 2)))
    images = torch.zeros(1, 1, 1, 2)
    starts = torch.tensor([[[0.8, 0.8], [1.0, 0.0]]])
    first, both = Search(block(images), 100), Search(block(images), 100)
    run(teacher, boundary_distance(first, starts[:, :1], 0.01))
    run(teacher, boundary_distance(both, starts, 0.01))
    assert int(both.asked) == int(first.asked) + 1
    assert torch.equal(both.distance, first.distance)


def test_a_pair_without_a_start_asks_nothing_and_stays_unreached() -> None:
    starts = torch.full((2, 2, 16), torch.nan)
    starts[1, 0] = 0.9
    search = Search(block(torch.zeros(2, *SHAPE)), 50)
    run(half_space(SHAPE), boundary_distance(search, starts, 0.01))
    assert search.asked.tolist()[0] == 0
    assert torch.isinf(search.distance[0])
    assert search.asked[1] > 0
    assert torch.isfinite(search.distance[1])


def test_the_start_is_never_asked_again() -> None:
    """Its decision is known: with no budget the distance is that of the start sample."""
    search = Search(block(torch.zeros(1, *SHAPE)), 0)
    run(half_space(SHAPE), boundary_distance(search, torch.full((1, 1, 16), 0.75), 0.01))
    assert float(search.distance) == 3.0
    assert int(search.asked) == 0


def test_a_sample_that_equals_its_start_ends_at_distance_zero() -> None:
    """Two equal images with other decisions (a teacher that is not a function): no NaN is asked."""
    teacher = Recording(half_space(SHAPE))
    images = torch.full((1, *SHAPE), 0.25)
    search = Search(block(images), 50)
    run(teacher, boundary_distance(search, images.view(1, 1, 16), 0.01))
    assert float(search.distance) == 0
    assert teacher.asked == 0
    assert np.isfinite(search.best.numpy()).all()
