"""The cascade: who decides which image, what it costs, and that the teacher sees what it should."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from db3.arithmetic import softmax, to_exact
from db3.errors import DataError, TeacherError
from db3.gate.audit import Audit
from db3.gate.cascade import Cascade
from db3.gate.gate import Gate
from db3.gate.scores import student_probabilities
from db3.gate.watch import Watch
from db3.networks import build
from db3.pixels import to_floats
from db3.teachers import Batching, Budget, Teacher
from db3.teachers.base import TeacherSpec
from db3.testing.analytic import HalfSpace
from tests.contracts.teacher import TeacherContract

SHAPE = (1, 4, 4)
TEACHER = HalfSpace(torch.ones(SHAPE), 8.0, max_batch=16)  # class 1: brighter than grey
GATE = Gate(0.8, 0.99, 0.95, 0.5, 1.0, 1000)
IMAGES = np.random.default_rng(0).integers(0, 256, (100, *SHAPE), dtype=np.uint8)


class Student:
    """Sure of images that are far from grey."""

    def scores(self, images: np.ndarray) -> np.ndarray:
        bright = 1 / (1 + np.exp(-(images.mean(axis=(1, 2, 3)) - 127.5) / 8))
        return np.stack([1 - bright, bright], axis=1)


class Network(nn.Module):
    """The same, as logits of [0, 1]."""

    def forward(self, images: Tensor) -> Tensor:
        bright = (images.flatten(1).mean(dim=1) * 255 - 127.5) / 8
        return torch.stack([torch.zeros_like(bright), bright], dim=1)


@pytest.mark.parametrize("student", [Student(), Network()], ids=["scores", "network"])
def test_the_sure_are_answered_and_the_rest_is_asked(student: Student | nn.Module) -> None:
    teacher = Budget(TEACHER)
    cascade = Cascade(student, teacher, GATE)
    decisions = cascade.decide(IMAGES)
    sure = Student().scores(IMAGES).max(axis=1) >= 0.8
    assert isinstance(decisions, np.ndarray)
    assert (cascade.answered, cascade.deferred) == (sure.sum(), (~sure).sum())
    assert 0 < teacher.costs.asked == cascade.deferred < 100
    known = TEACHER.decide(torch.from_numpy(IMAGES).float() / 255).numpy()
    assert np.array_equal(decisions[~sure], known[~sure])
    assert np.array_equal(decisions[sure], Student().scores(IMAGES).argmax(axis=1)[sure])
    bill = cascade.bill(2)
    assert (bill.images, bill.cost, bill.teacher_alone) == (100, cascade.deferred / 500, 0.2)
    assert f"{cascade.deferred} of 100 images asked of the teacher" in str(bill)


def test_arrays_and_tensors_of_bytes_and_of_floats_are_decided_alike() -> None:
    expected = Cascade(Student(), TEACHER, GATE).decide(IMAGES)
    for images in (torch.from_numpy(IMAGES), torch.from_numpy(IMAGES).float() / 255):
        decided = Cascade(Student(), TEACHER, GATE).decide(images)
        assert isinstance(decided, Tensor)
        assert decided.tolist() == expected.tolist()
    assert Cascade(Student(), TEACHER, GATE).decide(IMAGES[:0]).shape == (0,)


def test_the_teacher_sees_its_own_bounds() -> None:
    seen: list[Tensor] = []

    class Recorder:
        spec = TeacherSpec(SHAPE, (-1.0, 1.0), 2, 16, "recorder")

        def decide(self, images: Tensor) -> Tensor:
            seen.append(images)
            return torch.zeros(len(images), dtype=torch.int64)

    never = Gate(1.0, 0.99, 0.95, 0.5, 1.0, 1000)
    Cascade(Student(), Recorder(), never).decide(IMAGES)
    assert [len(part) for part in seen] == [16] * 6 + [4]
    assert torch.cat(seen).min() == -1
    assert torch.cat(seen).max() == 1


def test_once_the_alarm_is_raised_everything_is_asked() -> None:
    random = np.random.default_rng(1)
    watch = Watch(Student().scores(IMAGES).max(axis=1))
    cascade = Cascade(Student(), TEACHER, GATE, watch)
    cascade.decide(IMAGES)
    assert cascade.answered > 0
    dark = random.integers(0, 60, (200, *SHAPE), dtype=np.uint8)  # all of them sure, which the held-out ones were not
    cascade.decide(dark)
    assert watch.alarm
    answered = cascade.answered
    cascade.decide(IMAGES)
    assert cascade.answered == answered


def test_a_teacher_that_changed_is_found_by_the_audit() -> None:
    class Changed:
        spec = TEACHER.spec

        def decide(self, images: Tensor) -> Tensor:
            return 1 - TEACHER.decide(images)

    dark = np.random.default_rng(1).integers(0, 60, (2000, *SHAPE), dtype=np.uint8)
    same = Cascade(Student(), TEACHER, GATE, audit=Audit(GATE.agreement, 0.05))
    other = Cascade(Student(), Changed(), GATE, audit=Audit(GATE.agreement, 0.05))
    for part in np.array_split(dark, 20):
        same.decide(part)
        other.decide(part)
    assert same.audit is not None
    assert other.audit is not None
    assert not same.audit.alarm
    assert same.audit.agreed == same.audit.asked == same.deferred
    assert 50 < same.deferred < 200
    assert other.audit.alarm
    assert other.deferred > 1000
    assert (other.decide(dark[:9]) == 1).all()  # asked, all of them


def test_images_and_scores_of_another_shape_are_refused_before_anything_is_sent() -> None:
    teacher = Budget(TEACHER)
    with pytest.raises(DataError, match=r"images of shape \[1, 5, 5\]; expected \[1, 4, 4\]"):
        Cascade(Student(), teacher, GATE).decide(np.zeros((2, 1, 5, 5), np.uint8))

    class Logits:
        def scores(self, images: np.ndarray) -> np.ndarray:
            return np.full((len(images), 2), 4.0)

    class Flat:
        def scores(self, images: np.ndarray) -> np.ndarray:
            return np.full((len(images), 1), 1.0)[1:]

    with pytest.raises(DataError, match="sums to 8, from 4 on; expected probabilities"):
        Cascade(Logits(), teacher, GATE).decide(IMAGES)
    with pytest.raises(DataError, match=r"scores of shape \[99, 1\] to 100 images"):
        Cascade(Flat(), teacher, GATE).decide(IMAGES)
    assert teacher.costs.asked == 0


def test_a_teacher_that_fails_leaves_nothing_counted() -> None:
    class Broken:
        spec = TEACHER.spec

        def decide(self, images: Tensor) -> Tensor:  # noqa: ARG002
            raise TeacherError("no answer")

    cascade = Cascade(Student(), Broken(), GATE)
    with pytest.raises(TeacherError):
        cascade.decide(IMAGES)
    assert (cascade.answered, cascade.deferred) == (0, 0)


def test_a_networks_sure_answers_stay_apart() -> None:
    """In float32 every probability above 1 − 6e-8 is 1, and no threshold could part them."""
    logits = torch.tensor([[0.0, 20.0], [0.0, 25.0]])

    class Fixed(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return logits[: len(images)]

    network = Fixed().train()
    scores = student_probabilities(network, np.zeros((2, *SHAPE), np.uint8)).max(axis=1)
    assert scores[0] < scores[1] < 1
    assert network.training


def test_an_exact_twins_scores_are_the_same_bits_in_any_company() -> None:
    twin = to_exact(build("lenet5_half", (1, 28, 28), 10, seed=0).eval())
    images = np.random.default_rng(0).integers(0, 256, (300, 1, 28, 28), np.uint8)
    scores = student_probabilities(twin, images)
    with torch.inference_mode():
        assert np.array_equal(scores, softmax(twin(to_floats(images))).numpy())
    assert np.array_equal(scores[255:], student_probabilities(twin, images[255:]))


class TestCascadeIsATeacher(TeacherContract):
    EXTRA = frozenset({"answered", "audit", "bill", "deferred", "gate", "watch"})

    @pytest.fixture
    def teacher(self) -> Teacher:
        return Cascade(Network(), Batching(TEACHER), GATE)
