"""Defects of the paper's reference code that this engine must not have (one test each)."""

import numpy as np
import pytest
import torch
from torch import Tensor

from db3.search.ledger import Asks, Search
from db3.search.methods.bd import boundary_distance
from db3.search.methods.mbd import minimal_boundary_distance
from db3.teachers.base import Teacher
from tests.search.problems import GREY, Recording, block, drawn, half_space, run, shells

QUERIES = 10


def _search(teacher: Teacher, images: Tensor, starts: Tensor, samples: Tensor, budget: int) -> Search:
    search = Search(block(images, samples=samples), budget, checkpoints=(15, 40))

    def asks() -> Asks:
        yield from boundary_distance(search, starts, 0.01)
        yield from minimal_boundary_distance(search, 0, QUERIES, 0.1, 0.2, 0.01)

    run(teacher, asks())
    return search


def _pairs(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Dark images and bright starts of all contrasts: boundaries near and far, easy and hard."""
    images = drawn(count, *GREY, seed=1) * torch.linspace(0.1, 0.7, count).view(-1, 1, 1, 1)
    starts = 1 - drawn(count, 1, 64, seed=2) * torch.linspace(0.6, 0.1, count).view(-1, 1, 1)
    return images, starts, torch.arange(100, 100 + count)


@pytest.mark.parametrize("count", [64])
def test_a_pairs_search_does_not_depend_on_its_neighbours(count: int) -> None:
    """Batch 1 ≡ batch 64. The reference shares step size, smoothing and stop over the batch."""
    teacher = half_space()
    images, starts, samples = _pairs(count)
    together = _search(teacher, images, starts, samples, 60)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    mixed = _search(teacher, images[order], starts[order], samples[order], 60)
    assert len(together.asked.unique()) > 5
    for field in ("distance", "best", "asked", "curve"):
        assert torch.equal(getattr(mixed, field), getattr(together, field)[order])
    for row in range(0, count, 7):
        part = slice(row, row + 1)
        alone = _search(teacher, images[part], starts[part], samples[part], 60)
        for field in ("distance", "best", "asked", "curve"):
            assert torch.equal(getattr(alone, field), getattr(together, field)[part])


def test_the_budget_is_each_pairs_own() -> None:
    """The reference checks the mean of the batch: pairs that need little would let others ask for more."""
    images, starts, samples = _pairs(12)
    starts[::2] = torch.nan  # every second pair has nothing to ask
    recording = Recording(half_space())
    search = _search(recording, images, starts, samples, 50)
    assert search.asked[::2].sum() == 0
    assert search.asked.max() <= 50
    assert search.asked[1::2].min() > 50 - QUERIES - 1
    assert int(search.asked.sum()) == recording.asked  # the initial bisections are counted too


def test_smoothing_shrinks_only_after_an_estimate_without_progress() -> None:
    """In the reference two names alias one array, so that its "no improvement" branch always runs."""
    teacher = shells()
    image = 0.3 + 0.4 * drawn(1, *GREY, seed=4)
    start = drawn(1, 1, 64, seed=5)
    target = int(teacher.decide(start.view(1, *GREY)))
    assert int(teacher.decide(image)) != target
    recording, search = Recording(teacher), Search(block(image, target), 1500)

    def asks() -> Asks:
        yield from boundary_distance(search, start, 0.01)
        yield from minimal_boundary_distance(search, 0, QUERIES, 0.1, 0.2, 0.01)

    run(recording, asks())
    spreads, before, after, nearest = [], [], [], np.inf
    for call in recording.calls:
        is_estimate = len(call) == QUERIES
        if is_estimate:
            before.append(nearest)
            spreads.append(float((call - call.mean(dim=0)).flatten(1).norm(dim=1).mean()))
        hits = call[teacher.decide(call) == target]
        nearest = min(nearest, *(hits - image).flatten(1).norm(dim=1).tolist(), np.inf)
        if is_estimate:
            after.append(nearest)
    radius = np.array(spreads) / np.array(before)
    halved = radius[1:] < 0.75 * radius[:-1]
    progress = np.array(before[1:]) < np.array(after[:-1]) * (1 - 1e-6)  # of the line search between two estimates
    assert 3 < halved.sum() < len(halved) - 3
    assert np.array_equal(halved, ~progress)


def test_distances_are_measured_after_clipping() -> None:
    """The reference measures the ray before the image is clipped, which is not what the teacher saw."""
    recording = Recording(half_space())
    images, starts, samples = _pairs(20)
    search = _search(recording, images, starts, samples, 80)
    asked = torch.cat(recording.calls)
    assert asked.min() == 0 or asked.max() == 1  # rays did leave the bounds
    assert ((asked >= 0) & (asked <= 1)).all()
    assert (half_space().decide(search.best.view(-1, *GREY)) == 1).all()
    seen = (search.best.double() - images.flatten(1)).norm(dim=1)
    assert torch.allclose(search.distance.double(), seen, rtol=1e-6)
