"""One call shape, whatever is asked."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from db3.errors import TeacherError
from db3.networks import build
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.network import NetworkTeacher
from db3.teachers.base import Teacher, TeacherSpec
from db3.testing.analytic import Brightest
from tests.contracts.teacher import TeacherContract


class _Recording:
    """A teacher that remembers the images of every call."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher
        self.calls: list[Tensor] = []

    @property
    def spec(self) -> TeacherSpec:
        return self._teacher.spec

    def decide(self, images: Tensor) -> Tensor:
        self.calls.append(images.clone())
        return self._teacher.decide(images)


class _TooMany:
    spec = TeacherSpec((1, 2, 2), (0.0, 1.0), 2, 4, "one answer too many")

    def decide(self, images: Tensor) -> Tensor:
        return torch.zeros(len(images) + 1, dtype=torch.int64)


def _brightest(max_batch: int) -> Brightest:
    return Brightest(torch.arange(9).view(1, 3, 3) % 3, max_batch=max_batch)


class TestBatchedNetwork(TeacherContract):
    EXTRA = frozenset({"announcing"})

    @pytest.fixture
    def teacher(self) -> Batching:
        spec = TeacherSpec((3, 16, 16), (0.0, 1.0), 10, 5, "lenet5, untrained")
        return Batching(NetworkTeacher(build("lenet5", (3, 16, 16), 10, mean=[0.5] * 3, std=[0.1] * 3, seed=4), spec))


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 11])
def test_every_call_has_the_one_shape(count: int) -> None:
    recording = _Recording(_brightest(max_batch=4))
    images = torch.rand(count, 1, 3, 3, generator=torch.Generator().manual_seed(count))
    answers = Batching(recording).decide(images)
    assert [len(call) for call in recording.calls] == [4] * -(-count // 4)
    assert torch.equal(torch.cat(recording.calls)[:count], images)
    assert torch.equal(answers, _brightest(max_batch=4).decide(images))


def test_padding_is_an_image_that_was_asked_anyway() -> None:
    recording = _Recording(_brightest(max_batch=8))
    images = torch.rand(3, 1, 3, 3)
    Batching(recording).decide(images)
    assert all(torch.equal(padding, images[0]) for padding in recording.calls[0][3:])


def test_nothing_asked_costs_nothing() -> None:
    recording = _Recording(_brightest(max_batch=8))
    answers = Batching(recording).decide(torch.empty(0, 1, 3, 3))
    assert answers.shape == (0,)
    assert answers.dtype == torch.int64
    assert not recording.calls


def test_a_wrong_number_of_answers_is_not_cut_to_fit() -> None:
    with pytest.raises(TeacherError, match=r"answers of shape \[5\] to 4 images; expected one class per image"):
        Batching(_TooMany()).decide(torch.zeros(2, 1, 2, 2))


@pytest.mark.parametrize(
    "form", [list, Tensor.numpy, lambda told: told.numpy().astype(np.uint8), lambda told: told.to(torch.int32)]
)
def test_a_teacher_of_ones_own_may_answer_with_whatever_holds_whole_numbers(form: Callable[[Tensor], Any]) -> None:
    class Own:
        spec = _brightest(max_batch=4).spec

        def decide(self, images: Tensor) -> Any:
            return form(_brightest(max_batch=4).decide(images))

    images = torch.rand(7, 1, 3, 3)
    told = Batching(Own()).decide(images)
    assert told.dtype == torch.int64
    assert torch.equal(told, Batching(_brightest(max_batch=4)).decide(images))


@pytest.mark.parametrize("ending", [RuntimeError("gone"), KeyboardInterrupt()])
def test_what_came_back_before_a_call_failed_is_not_asked_again(ending: BaseException) -> None:
    """960 of 1,024 images had been answered when the last call failed; they were asked and paid again."""
    recording, images, failing = _Recording(_brightest(max_batch=64)), torch.rand(1024, 1, 3, 3), [True]

    class Failing:
        spec = recording.spec

        def decide(self, images: Tensor) -> Tensor:
            if len(recording.calls) == 15 and failing and failing.pop():
                raise ending
            return recording.decide(images)

    teacher = Batching(Failing())
    with pytest.raises(type(ending)):
        teacher.decide(images)
    assert torch.equal(teacher.decide(images), _brightest(max_batch=64).decide(images))
    assert len(recording.calls) == 16
    teacher.decide(images[:64])  # what is asked once more after that is sent: an unsteady teacher may be asked again
    assert len(recording.calls) == 17


def test_other_images_than_those_answered_are_asked() -> None:
    recording, images, stops = _Recording(_brightest(max_batch=2)), torch.rand(4, 1, 3, 3), [False, True]

    def sending(_: int) -> None:
        if stops and stops.pop(0):
            raise TeacherError("stop")

    teacher = Batching(recording, sending=sending)
    with pytest.raises(TeacherError, match="stop"):
        teacher.decide(images)
    assert torch.equal(teacher.decide(images.flip(0)), _brightest(max_batch=2).decide(images.flip(0)))
    assert len(recording.calls) == 3
