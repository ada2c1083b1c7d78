"""Decisions on images that are there: independent of their number and of pieces, and asked a second time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from db3.errors import BudgetSpent
from db3.images.augmented import augmented_images, decide_augmented
from db3.teachers import decide as module
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.network import NetworkTeacher
from db3.teachers.base import TeacherSpec
from db3.teachers.decide import decide_all, decide_images, recheck
from db3.work import Arrays, Work, run_here
from tests.search.problems import Recording, brightest, pool
from tests.teachers.unsteady import Unsteady


class Recorder(nn.Module):
    """A small convolutional network with dropout that remembers the shapes it was called with."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 5)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.drop, self.rows = nn.Dropout(0.9), []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.rows.append(len(images))
        logits: torch.Tensor = self.head(self.drop(self.conv(images).relu().flatten(1)))
        return logits


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (21, 1, 8, 8), dtype=np.uint8)


def test_every_call_has_the_same_rows_and_the_mode_is_kept(images: np.ndarray) -> None:
    network = Recorder().train()
    decide_all(network, images, 8)
    assert network.rows == [8, 8, 8]
    assert network.training


def test_decisions_equal_a_plain_loop_in_evaluation_mode(images: np.ndarray) -> None:
    network = Recorder()
    expected = [int(network.eval()(torch.from_numpy(image[None]) / 255).argmax()) for image in images]
    decisions = decide_all(network.train(), images, 8)
    assert decisions.tolist() == expected
    assert decisions.dtype == np.int64
    assert len(set(expected)) > 1


def test_an_image_is_decided_alike_in_any_company(images: np.ndarray) -> None:
    network = Recorder()
    whole = decide_all(network, images, 8)
    assert whole[:5].tolist() == decide_all(network, images[:5], 8).tolist()
    assert whole[13:].tolist() == decide_all(network, images[13:], 8).tolist()


def test_a_teacher_is_asked_in_its_own_call_shape(images: np.ndarray) -> None:
    network = Recorder()
    teacher = Batching(NetworkTeacher(network, TeacherSpec((1, 8, 8), (0.0, 1.0), 5, 16, "id")))
    assert decide_all(teacher, images, 3).tolist() == decide_all(network, images, 8).tolist()
    assert network.rows[:2] == [16, 16]


def test_no_images_give_no_decisions(images: np.ndarray) -> None:
    assert decide_all(Recorder(), images[:0], 8).shape == (0,)


def backwards(work: Work) -> list[Arrays]:
    """A runner that begins with the last piece."""
    return [work.compute(index) for index in reversed(range(len(work)))][::-1]


def test_every_image_is_asked_once_in_any_order_of_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIECE", 7)
    teacher = Recording(Batching(brightest()))
    images = pool(teacher, 30).images
    expected, before = decide_all(brightest(), images, 64), teacher.asked
    assert np.array_equal(decide_images(teacher, images), expected)
    assert np.array_equal(decide_images(teacher, images, run=backwards), expected)
    assert teacher.asked - before == 60
    assert decide_images(teacher, images[:0]).shape == (0,)


@pytest.mark.parametrize(("count", "asked"), [(0, 0), (7, 7), (30, 30), (99, 30)])
def test_a_recheck_asks_some_again_and_finds_who_changes_its_mind(count: int, asked: int) -> None:
    teacher = Recording(brightest())
    images = pool(brightest(), 30)
    assert recheck(teacher, images.images, images.decisions, count) == (asked, 0)
    assert teacher.asked == asked
    compared, changed = recheck(Unsteady(brightest(), 1.0), images.images, images.decisions, count)
    assert compared == asked
    assert (changed > 0) == (asked > 0)


class Refusing(Recording):
    """Answers so many images and then no more."""

    allowed = 20

    def decide(self, images: Tensor) -> Tensor:
        if self.asked + len(images) > self.allowed:
            raise BudgetSpent("no more")
        return super().decide(images)


def test_the_augmented_images_are_decided_as_they_are_made_until_the_budget_ends() -> None:
    teacher = Batching(brightest())
    samples = pool(teacher, 12)
    told = decide_augmented(teacher, samples, range(30), seed=3)
    assert np.array_equal(told, decide_all(teacher, augmented_images(samples.images, range(30), 3), 64))
    assert np.array_equal(decide_augmented(teacher, samples, range(30), 3, run=run_here), told)
    small = brightest()
    small.__dict__["spec"] = replace(small.spec, max_batch=8)
    assert np.array_equal(decide_augmented(Refusing(small), samples, range(30), seed=3), told[:16])
    with pytest.raises(BudgetSpent):
        decide_images(Refusing(small), samples.images.repeat(2, axis=0))
