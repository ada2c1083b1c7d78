"""Moves: away from the boundary by about ξ an iteration, never across one, every state stored as it was asked."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from db3.search import TransferImages
from db3.search.methods.untargeted import Descent
from db3.teachers.base import Teacher
from db3.testing.analytic import HalfSpace, Shells
from db3.zero_shot.moves import Block, Moved, Moves
from tests.search.problems import SMALL, Recording, drawn, run

NOBODY = np.empty(0, np.int64)


def moved(teacher: Teacher, images: Tensor, starts: Tensor, moves: Moves, plan: list[int]) -> Moved:
    """Move uint8 images, each of which is given the same starts [q, D]."""
    decisions = teacher.decide(images.float() / 255)
    pool = TransferImages(images.numpy(), decisions.numpy())
    many = starts.expand(len(images), *starts.shape)
    block = Block(teacher.spec, pool, range(len(images)), many, moves, plan, 0, NOBODY, ())
    run(teacher, block.asks())
    return block.result()


def plane() -> HalfSpace:
    """Nine dimensions, a tilted plane through the middle grey."""
    normal = drawn(*SMALL, seed=1) + 0.3
    return HalfSpace(normal, float(normal.double().sum()) / 2)


def beside(teacher: HalfSpace, height: float, count: int = 10) -> Tensor:
    """Images at about this height above the plane, and elsewhere at random."""
    unit = teacher.normal / teacher.normal.norm()
    across = 0.1 * (drawn(count, *SMALL, seed=2) - 0.5)
    across -= (across * unit).sum(dim=(1, 2, 3), keepdim=True) * unit
    return ((0.5 + across + height * unit) * 255).round().to(torch.uint8)


@pytest.mark.parametrize("side", [1, -1])
def test_the_margin_grows_by_the_step_along_the_normal(side: int) -> None:
    """What the paper says, on a plane, where it is exact: after i moves the margin is i·ξ greater."""
    teacher, step = plane(), 0.1
    images, other = beside(teacher, 0.05 * side), beside(teacher, -0.3 * side, 1).flatten(1).float() / 255
    one, four = (moved(teacher, images, other, Moves(step=step), [150] * count) for count in (1, 4))
    target = 0 if side == 1 else 1

    def height(pixels: Tensor) -> Tensor:
        return teacher.distance(pixels.float() / 255, target)

    for found, count in ((one, 1), (four, 4)):
        grown = height(torch.from_numpy(found.images)) - height(images)
        assert (grown > 0.88 * count * step).all()
        assert (grown < 1.02 * count * step + 0.01).all()
        assert (found.moved == 1).all()
    shift = (torch.from_numpy(four.images).double() - images.double()).flatten(1) / 255
    unit = (teacher.normal / teacher.normal.norm()).double().flatten()
    astray = shift - (shift @ unit)[:, None] * unit
    assert float(astray.norm(dim=1).max()) < 0.5 * 4 * step


def test_the_margins_reported_are_those_before_each_move() -> None:
    teacher = plane()
    images, other = beside(teacher, 0.05), beside(teacher, -0.3, 1).flatten(1).float() / 255
    found = moved(teacher, images, other, Moves(step=0.1), [150] * 3)
    exact = teacher.distance(images.float() / 255, 0)
    assert found.margins.shape == (3, len(images))
    assert (found.margins[0] >= exact.numpy() * (1 - 1e-6)).all()
    assert (found.margins[0] < exact.numpy() * 1.1 + 0.01).all()
    assert np.allclose(np.diff(found.margins, axis=0), 0.1, atol=0.03)


def test_no_move_crosses_a_boundary_however_long_the_step() -> None:
    """A shell 0.25 thick: half a step leaves it, so steps are halved, and none is taken that flips the decision."""
    teacher = Recording(Shells(torch.full(SMALL, 0.5), (0.45, 0.7)))
    unit = drawn(12, *SMALL, seed=3) - 0.5
    unit /= unit.flatten(1).norm(dim=1)[:, None, None, None]
    images = ((0.5 + 0.5 * unit) * 255).round().to(torch.uint8)
    assert (teacher.decide(images.float() / 255) == 1).all()
    starts = torch.full((1, 9), 0.5)
    found = moved(teacher, images, starts, Moves(step=0.5, halvings=3), [60] * 3)
    assert (teacher.decide(torch.from_numpy(found.images).float() / 255) == 1).all()
    assert (found.images != images.numpy()).any(axis=(1, 2, 3)).mean() > 0.8
    assert found.moved.max() > 1
    assert found.moved.max() <= 4
    grown = 0.45 - (torch.from_numpy(found.images).double() / 255 - 0.5).flatten(1).norm(dim=1)
    assert float((-grown).mean()) > 0.06


def test_a_sample_whose_every_step_would_flip_stays() -> None:
    teacher = Shells(torch.full(SMALL, 0.5), (0.45, 0.46))
    images = torch.full((1, *SMALL), 127, dtype=torch.uint8)
    images[0, 0, 0, 0] = 243
    assert teacher.decide(images.float() / 255).tolist() == [1]
    found = moved(teacher, images, torch.full((1, 9), 0.5), Moves(step=0.5, halvings=2), [60])
    assert np.array_equal(found.images, images.numpy())
    assert found.moved.tolist() == [[3]]


def test_a_step_that_rounds_to_no_change_is_not_asked() -> None:
    teacher = plane()
    images, other = beside(teacher, 0.05), beside(teacher, -0.3, 1).flatten(1).float() / 255
    found = moved(teacher, images, other, Moves(step=1e-3), [60])
    assert np.array_equal(found.images, images.numpy())
    assert (found.moved == 0).all()


def test_at_the_bounds_there_is_nowhere_to_go() -> None:
    teacher = HalfSpace(torch.ones(1, 1, 2), 1.0)
    images = torch.full((1, 1, 1, 2), 255, dtype=torch.uint8)
    found = moved(teacher, images, torch.zeros(1, 2), Moves(), [60])
    assert found.images.tolist() == images.tolist()
    assert found.moved.tolist() == [[0]]


def test_without_a_known_boundary_nothing_moves_or_asks() -> None:
    teacher, images = Recording(plane()), beside(plane(), 0.05)
    found = moved(teacher, images, torch.full((1, 9), torch.nan), Moves(), [60] * 2)
    assert np.array_equal(found.images, images.numpy())
    assert np.isinf(found.margins).all()
    assert found.searched.sum() == found.moved.sum() == 0
    assert teacher.asked == len(images)  # their own decisions


def test_searches_of_one_sample_in_two_iterations_probe_other_directions() -> None:
    """The iteration is part of the key: where nothing moves, two searches of one sample still differ."""
    teacher = Recording(HalfSpace(torch.ones(1, 3, 3), 7.0))
    images = torch.zeros(1, *SMALL, dtype=torch.uint8)
    found = moved(teacher, images, torch.ones(1, 9), Moves(), [60] * 2)
    assert np.array_equal(found.images, images.numpy())
    asked = torch.cat(teacher.calls[1:])
    first, second = asked[: found.searched[0, 0]], asked[found.searched[0, 0] :]
    known = {image.numpy().tobytes() for image in first}
    assert sum(image.numpy().tobytes() in known for image in second) < 3


@given(
    st.integers(0, 100_000),
    st.integers(0, 60),
    st.integers(0, 6),
    st.integers(1, 200),
    st.none() | st.integers(1, 500),
)
def test_a_plan_never_costs_more_than_its_budget(
    budget: int, iterations: int, halvings: int, directions: int, queries: int | None
) -> None:
    moves = Moves(iterations, queries, halvings=halvings, descent=Descent(directions))
    plan = moves.plan(budget)
    assert sum(plan) + len(plan) * (1 + halvings) <= budget
    assert len(plan) <= iterations
    assert all(0 < search <= (queries or budget) for search in plan)
    if queries is None and plan:
        assert min(plan) >= moves.descent.minimum
        if len(plan) == iterations:  # nothing worth an iteration's while is left over
            assert budget - sum(plan) - len(plan) * (1 + halvings) < iterations


def test_a_small_budget_means_fewer_iterations_then_none() -> None:
    moves = Moves(iterations=40)
    assert moves.plan(40 * 104) == [100] * 40
    assert moves.plan(3 * 34) == [30] * 3
    assert moves.plan(33) == []
    assert Moves(iterations=5, queries=50).plan(10_000) == [50] * 5
