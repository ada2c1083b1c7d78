"""What goes to a teacher and what comes back is checked, and every image asked is counted."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from db3.errors import DataError, TeacherError
from db3.teachers.adapters.batching import Batching
from db3.teachers.base import TeacherSpec
from db3.teachers.meter import Meter, check_decisions
from db3.testing.analytic import Brightest
from tests.contracts.teacher import TeacherContract


class _Answering:
    """An adapter that answers what it is told to."""

    spec = TeacherSpec((1, 2, 2), (0.0, 1.0), 3, 4, "an adapter under test")

    def __init__(self, answer: Callable[[Tensor], Tensor]) -> None:
        self._answer = answer
        self.called = 0

    def decide(self, images: Tensor) -> Tensor:
        self.called += 1
        return self._answer(images)


def _zeros(images: Tensor) -> Tensor:
    return torch.zeros(len(images), dtype=torch.int64)


class TestMeter(TeacherContract):
    EXTRA = frozenset({"asked", "replayed", "paid", "flips", "teacher"})

    @pytest.fixture
    def teacher(self) -> Meter:
        return Meter(Batching(Brightest(torch.arange(12).view(3, 2, 2) % 4, max_batch=6)))


def test_images_are_counted_one_by_one_and_padding_is_not() -> None:
    meter = Meter(Batching(Brightest(torch.arange(4).view(1, 2, 2), max_batch=64)))
    for count in (1, 5, 0, 100):
        meter.decide(torch.rand(count, 1, 2, 2))
    assert meter.asked == 106


def test_threads_lose_no_count() -> None:
    meter = Meter(_Answering(_zeros))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: meter.decide(torch.zeros(2, 1, 2, 2)), range(200)))
    assert meter.asked == 400


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 1, 2, 3), r"images of shape \[1, 2, 3\] for a teacher of shape \[1, 2, 2\]"),
        (torch.zeros(2, 3, 2, 2), r"images of shape \[3, 2, 2\] for a teacher of shape \[1, 2, 2\]"),
        (torch.full((1, 1, 2, 2), torch.nan), "an image holds NaN or infinity"),
        (torch.tensor([[[[0.0, 0.1], [torch.nan, 0.2]]]]), "an image holds NaN or infinity"),
        (torch.full((1, 1, 2, 2), torch.inf), "an image holds NaN or infinity"),
        (torch.full((1, 1, 2, 2), 1.01), r"pixels span \[1.01, 1.01\], outside the teacher's bounds \[0, 1\]"),
        (torch.tensor([[[[0.0, 0.1], [-0.5, 0.2]]]]), r"pixels span \[-0.5, 0.2\], outside"),
    ],
    ids=["width", "channels", "all NaN", "one NaN", "infinity", "above", "below"],
)
def test_a_bad_image_is_refused_before_it_is_paid_for(images: Tensor, message: str) -> None:
    adapter = _Answering(_zeros)
    meter = Meter(adapter)
    with pytest.raises(DataError, match=message) as raised:
        meter.decide(images)
    assert "\n" not in str(raised.value)
    assert adapter.called == meter.asked == 0


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda images: _zeros(images)[1:], r"answers of shape \[1\] to 2 images; expected one class per image"),
        (lambda images: torch.zeros(len(images), 3, dtype=torch.int64), r"answers of shape \[2, 3\] to 2 images"),
        (lambda images: _zeros(images) + 3, r"answered class 3; expected 0 … 2"),
        (lambda images: _zeros(images) - 1, r"answered class -1; expected 0 … 2"),
    ],
    ids=["too few", "scores of K columns", "class K", "negative class"],
)
def test_an_answer_against_the_contract_is_refused(answer: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(TeacherError, match=message) as raised:
        Meter(_Answering(answer)).decide(torch.zeros(2, 1, 2, 2))
    assert "\n" not in str(raised.value)


def test_scores_in_place_of_classes_are_refused() -> None:
    """Only the type tells one float per image from one class per image."""
    with pytest.raises(TeacherError, match=r"answered in torch.float32; expected int64 classes: take the argmax"):
        check_decisions(torch.tensor([0.0, 1.0]), 2, _Answering.spec)
