"""One call shape, whatever is asked."""

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
