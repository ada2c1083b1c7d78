"""Pseudo samples: margins grow, every query is counted, budgets are hard, and nobody depends on a neighbour."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from db3.errors import ConfigError, DataError
from db3.networks import build
from db3.search import TransferImages
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.network import NetworkTeacher
from db3.teachers.adapters.quantised import Quantised
from db3.teachers.base import TeacherSpec
from db3.testing.analytic import Analytic, HalfSpace
from db3.zero_shot import zsdb3 as module
from db3.zero_shot.moves import Moves
from db3.zero_shot.start_images import find_starts
from db3.zero_shot.zsdb3 import PseudoSamples, Zsdb3, join, move, pseudo_samples, zsdb3
from tests.search.problems import COLOUR, GREY, TEACHERS, Constant, Recording, brightest, half_space, truth

Array = np.ndarray  # type: ignore[type-arg]
SETTINGS = Zsdb3(count=12, budget=3000, noise=1000, moves=Moves(iterations=3, step=0.2), pictured=2, every=1)


def margins(teacher: Analytic, images: Array, decisions: Array) -> Array:
    """Exact distance of each image to the nearest other class."""
    exact = truth(teacher, TransferImages(images, decisions))
    exact[np.arange(len(images)), decisions] = np.inf
    return exact.min(axis=1)


def same(one: PseudoSamples, other: PseudoSamples) -> bool:
    arrays = ("images", "decisions", "asked", "margins", "snapshots", "pictured")
    rest = ("snapshot_iterations", "snapshot_queries", "queries", "missing")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays) and all(
        getattr(one, name) == getattr(other, name) for name in rest
    )


@pytest.mark.parametrize(
    "teacher", [half_space(), brightest(), brightest(COLOUR, 3), TEACHERS["sphere"]()], ids=lambda one: str(one.spec)
)
def test_margins_grow_and_every_query_is_counted(teacher: Analytic) -> None:
    recording = Recording(teacher)
    found = zsdb3(recording, SETTINGS)
    before = zsdb3(teacher, replace(SETTINGS, moves=Moves(iterations=0)))
    assert found.images.shape == (12, *teacher.spec.input_shape)
    assert np.array_equal(found.decisions, before.decisions)
    assert np.ptp(np.bincount(found.decisions)) <= 1
    grown = margins(teacher, found.images, found.decisions) - margins(teacher, before.images, before.decisions)
    assert grown.mean() > 0.05
    assert sum(found.queries.values()) == recording.asked <= SETTINGS.budget
    assert found.queries["search"] + found.queries["moves"] == found.asked.sum()
    assert before.queries == {**found.queries, "search": 0, "moves": 0}


def test_decisions_are_those_of_the_stored_images() -> None:
    teacher = brightest()
    recording = Recording(teacher)
    found = zsdb3(recording, SETTINGS)
    pixels = torch.from_numpy(found.images).float() / 255
    assert np.array_equal(teacher.decide(pixels).numpy(), found.decisions)
    asked = {image.numpy().tobytes() for call in recording.calls for image in call}
    assert all(image.numpy().tobytes() in asked for image in pixels)


@pytest.mark.parametrize("max_batch", [1, 7])
def test_the_teachers_batch_changes_nothing(max_batch: int) -> None:
    teacher = brightest()
    assert same(zsdb3(replace(teacher, max_batch=max_batch), SETTINGS), zsdb3(teacher, SETTINGS))


@pytest.mark.parametrize("size", [1, 5])
def test_blocks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    together = zsdb3(brightest(), SETTINGS)
    monkeypatch.setattr(module, "_ROWS_PER_BLOCK", size)
    assert same(zsdb3(brightest(), SETTINGS), together)


def test_rows_moved_apart_give_the_same() -> None:
    teacher = brightest()
    starts = find_starts(teacher, SETTINGS.count, SETTINGS.limits(False), SETTINGS.seed)
    parts = [move(teacher, starts, rows, SETTINGS) for rows in (range(3), range(3, 4), range(4, 12))]
    assert same(pseudo_samples(starts, parts, SETTINGS), zsdb3(teacher, SETTINGS))
    assert join(parts[:2]).images.shape == (4, *GREY)


def test_a_rerun_is_identical_and_the_seed_decides() -> None:
    first, again, other = (zsdb3(brightest(), replace(SETTINGS, seed=seed)) for seed in (0, 0, 1))
    assert same(first, again)
    assert not np.array_equal(first.images, other.images)


@pytest.mark.parametrize("budget", [40, 100, 200, 700, 1100, 1111, 2000, 9000])
def test_the_budget_is_a_hard_stop_and_what_is_known_stands(budget: int) -> None:
    teacher = Recording(brightest())
    settings = replace(SETTINGS, budget=budget, noise=None, missing="allow")
    found = zsdb3(teacher, settings)
    assert sum(found.queries.values()) == teacher.asked <= budget
    assert found.asked.max() * len(found.asked) <= budget
    pixels = torch.from_numpy(found.images).float() / 255
    assert np.array_equal(teacher.decide(pixels).numpy(), found.decisions)
    assert found.snapshot_queries[-1] == sum(found.queries.values())


def test_more_queries_move_more() -> None:
    teacher = brightest()
    grown = [
        margins(teacher, found.images, found.decisions).mean()
        for found in (zsdb3(teacher, replace(SETTINGS, budget=budget)) for budget in (1000, 2000, 8000))
    ]
    assert grown == sorted(grown)


def test_snapshots_lead_from_the_start_to_the_end() -> None:
    found = zsdb3(brightest(), replace(SETTINGS, every=2))
    before = zsdb3(brightest(), replace(SETTINGS, moves=Moves(iterations=0)))
    assert found.snapshot_iterations == (0, 2, 3)
    assert found.snapshots.shape == (3, 8, *GREY)
    assert np.bincount(found.decisions[found.pictured]).tolist() == [2, 2, 2, 2]
    assert np.array_equal(found.snapshots[0], before.images[found.pictured])
    assert np.array_equal(found.snapshots[-1], found.images[found.pictured])
    assert before.snapshot_iterations == (0,)
    queries = found.snapshot_queries
    assert queries[0] == found.queries["noise"] < queries[1] < queries[2] == sum(found.queries.values())


def test_the_fallback_finds_what_noise_does_not() -> None:
    """Noise is never as bright as this plane is high; the source is."""
    normal = torch.zeros(GREY)
    normal[0, :2] = 1
    teacher = HalfSpace(normal, 0.8 * 16)

    def bright(numbers: Sequence[int]) -> Array:
        return np.stack([np.full(GREY, 190 + number % 60, np.uint8) for number in numbers])

    settings = replace(SETTINGS, noise=200, source=200)
    with pytest.raises(DataError, match="200 of noise"):
        zsdb3(teacher, settings)
    found = zsdb3(teacher, settings, bright)
    assert found.missing == ()
    assert np.bincount(found.decisions).tolist() == [6, 6]
    assert found.queries["noise"] == found.queries["source"] == 200
    assert found.tried == "200 of noise and 200 of the fallback source"


def test_with_a_class_missing_the_others_are_made_and_it_is_named() -> None:
    class Never:
        """Class 4 of five is never answered."""

        spec = TeacherSpec(GREY, (0.0, 1.0), 5, 64, "never 4")

        def decide(self, images: torch.Tensor) -> torch.Tensor:
            return brightest().decide(images)

    settings = replace(SETTINGS, count=20)
    with pytest.raises(DataError, match=r"\(1,000 of noise\) as: owl; give another"):
        zsdb3(Never(), settings, class_names=["ant", "bee", "cat", "dog", "owl"])
    found = zsdb3(Never(), replace(settings, missing="allow"))
    assert found.missing == (4,)
    assert np.bincount(found.decisions).tolist() == [4, 4, 4, 4]
    assert (found.asked > 0).all()


def test_a_constant_teacher_and_a_budget_below_the_classes_are_refused() -> None:
    with pytest.raises(DataError, match="answered class 1 to all images asked"):
        zsdb3(Constant(1), replace(SETTINGS, missing="allow"))
    with pytest.raises(ConfigError, match="budget is 3 queries; expected one for each of the 4"):
        zsdb3(brightest(), replace(SETTINGS, budget=3))
    with pytest.raises(ConfigError, match="2 images for 4 classes"):
        zsdb3(brightest(), replace(SETTINGS, count=2))


def test_a_teacher_of_uint8_is_asked_levels_only() -> None:
    class Levels(Recording):
        @property
        def spec(self) -> TeacherSpec:
            return replace(super().spec, levels=256)

    teacher = Levels(brightest())
    found = zsdb3(Quantised(teacher), SETTINGS)
    assert sum(found.queries.values()) == teacher.asked
    levels = torch.cat(teacher.calls) * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    before = zsdb3(brightest(), replace(SETTINGS, moves=Moves(iterations=0)))
    grown = margins(brightest(), found.images, found.decisions) - margins(brightest(), before.images, before.decisions)
    assert grown.mean() > 0.05


def test_a_real_network_whatever_the_order_of_its_samples_in_a_call() -> None:
    """LeNet5 with its first weights, which never answers class 2: convolutions, fixed calls of 32, 3 of 4 classes."""
    spec = TeacherSpec((1, 16, 16), (0.0, 1.0), 4, 32, "untrained")
    teacher = Batching(NetworkTeacher(build("lenet5_fifth", spec.input_shape, 4, seed=33), spec))
    settings = replace(SETTINGS, missing="allow", budget=3000, noise=500)
    found = zsdb3(teacher, settings)
    assert found.missing == (2,)
    assert np.bincount(found.decisions).tolist() == [3, 3, 0, 3]
    assert sum(found.queries.values()) <= settings.budget
    assert np.array_equal(teacher.decide(torch.from_numpy(found.images).float() / 255).numpy(), found.decisions)
    before = zsdb3(teacher, replace(settings, moves=Moves(iterations=0)))
    assert (found.images != before.images).any(axis=(1, 2, 3)).all()
    starts = find_starts(teacher, settings.count, settings.limits(False), settings.seed)
    parts = [move(teacher, starts, rows, settings) for rows in (range(5), range(5, 9))]
    assert same(pseudo_samples(starts, parts, settings), found)
