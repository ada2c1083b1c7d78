"""What goes to a teacher and what comes back is checked and counted, and never one image more is sent than may be."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from db3.errors import BudgetSpent, DataError, TeacherError
from db3.teachers.adapters.batching import Batching
from db3.teachers.base import TeacherSpec
from db3.teachers.budget import Budget, Costs
from db3.teachers.checks import checked_decisions
from db3.teachers.votes import Votes
from db3.testing.analytic import Brightest
from tests.contracts.teacher import TeacherContract


def _areas() -> Brightest:
    return Brightest(torch.arange(12).view(3, 2, 2) % 4, max_batch=6)


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


class TestBudget(TeacherContract):
    EXTRA = frozenset({"costs"})

    @pytest.fixture
    def teacher(self) -> Budget:
        return Budget(Batching(_areas()))


def test_images_are_counted_one_by_one_and_padding_is_not() -> None:
    teacher = Budget(Batching(Brightest(torch.arange(4).view(1, 2, 2), max_batch=64)))
    for count in (1, 5, 0, 100):
        teacher.decide(torch.rand(count, 1, 2, 2))
    assert teacher.costs.asked == 106


def test_threads_lose_no_count() -> None:
    teacher = Budget(_Answering(_zeros))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: teacher.decide(torch.zeros(2, 1, 2, 2)), range(200)))
    assert teacher.costs.asked == 400


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
def test_a_bad_image_is_refused_before_it_is_sent(images: Tensor, message: str) -> None:
    adapter = _Answering(_zeros)
    teacher = Budget(adapter)
    with pytest.raises(DataError, match=message) as raised:
        teacher.decide(images)
    assert "\n" not in str(raised.value)
    assert adapter.called == teacher.costs.asked == teacher.costs.sent == 0


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
        Budget(_Answering(answer)).decide(torch.zeros(2, 1, 2, 2))
    assert "\n" not in str(raised.value)


def test_scores_in_place_of_classes_are_refused() -> None:
    """Only the type tells one float per image from one class per image."""
    with pytest.raises(TeacherError, match=r"answered in torch.float32; expected int64 classes: take the argmax"):
        checked_decisions(torch.tensor([0.0, 1.0]), 2, _Answering.spec)


def _sends(costs: Costs, count: int) -> bool:
    try:
        costs.send(count)
    except BudgetSpent:
        return False
    return True


@given(st.integers(0, 200), st.integers(0, 50), st.lists(st.integers(0, 40), max_size=30))
def test_what_is_sent_never_exceeds_the_total(total: int, before: int, counts: list[int]) -> None:
    costs = Costs(before=before, limit=total)
    sent = [count for count in counts if _sends(costs, count)]
    assert costs.sent == sum(sent)
    assert not sum(sent) or before + costs.sent <= total
    # A refused count is too many at that moment: what is left is less.
    refused = [count for count in counts if count not in sent]
    assert all(before + costs.sent + count > total for count in refused)


def test_threads_together_never_exceed_it() -> None:
    costs = Costs(limit=1000)
    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(lambda number: (number % 7, _sends(costs, number % 7)), range(2000)))
    assert costs.sent == sum(count for count, went in sent if went) <= 1000
    assert costs.sent > 1000 - 7


def test_no_total_is_no_limit() -> None:
    costs = Costs()
    costs.send(10**9)
    assert costs.sent == 10**9


def test_a_refusal_says_what_was_wanted_in_one_line() -> None:
    with pytest.raises(BudgetSpent, match=r"8 images more would make 13 sent, of 12 that may be: raise budget.total"):
        Costs(limit=12, sent=5).send(8)


def test_padding_is_not_sent_and_votes_are() -> None:
    costs = Costs()
    adapter = Batching(_areas(), sending=costs.send)
    Budget(Votes(adapter, 3, costs), costs=costs).decide(torch.rand(7, 3, 2, 2))
    assert (costs.asked, costs.votes, costs.sent, costs.known) == (7, 14, 14, 0)


def test_an_adapter_alone_sends_each_image_once_and_no_more_than_the_total() -> None:
    teacher = Budget(Batching(_areas()), total=10)
    teacher.decide(torch.rand(7, 3, 2, 2))
    with pytest.raises(BudgetSpent, match="4 images more would make 11 sent, of 10"):
        teacher.decide(torch.rand(4, 3, 2, 2))
    assert teacher.costs.counts() == {
        "asked": 7,
        "known": 0,
        "sent": 7,
        "answered": 7,
        "votes": 7,
        "compared": 0,
        "changed": 0,
    } | dict.fromkeys(("nothing", "several", "off_list", "input_tokens", "output_tokens"), 0)


def test_votes_that_might_not_all_be_sent_are_not_begun() -> None:
    costs = Costs(limit=8)
    teacher = Budget(Votes(Batching(_areas(), sending=costs.send), 3, costs), costs=costs)
    with pytest.raises(BudgetSpent, match="9 images more"):
        teacher.decide(torch.rand(3, 3, 2, 2))
    assert costs.sent == 0


def test_two_limits_are_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        Budget(_areas(), 10, costs=Costs())


@pytest.mark.parametrize(
    "given",
    [
        lambda levels: levels.numpy(),
        lambda levels: levels,
        lambda levels: levels.float() / 255,
        lambda levels: (levels.float() / 255).numpy(),
        lambda levels: levels.numpy() / np.float64(255),
    ],
    ids=["uint8 array", "uint8 tensor", "tensor", "array", "float64 array"],
)
def test_images_come_as_arrays_or_tensors_of_floats_or_stored_pixels(given: Callable[[Tensor], object]) -> None:
    levels = torch.randint(0, 256, (6, 3, 2, 2), dtype=torch.uint8)
    assert torch.equal(Budget(_areas()).decide(given(levels)), _areas().decide(levels.float() / 255))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda images: [0] * (len(images) - 1), r"answers of shape \[1\] to 2 images"),
        (lambda _: [0, 3], r"answered class 3; expected 0 … 2"),
        (lambda _: [0.0, 1.0], r"answered in list of float; expected int64 classes"),
        (lambda _: np.zeros(2), r"answered in float64; expected int64 classes"),
        (lambda _: np.zeros((2, 3), np.int32), r"answers of shape \[2, 3\] to 2 images"),
        (lambda _: None, r"answered in NoneType; expected int64 classes"),
        (lambda _: [None, 1], r"answered in list of NoneType, int; expected"),
        (lambda _: ["cat", "dog"], r"answered in list of str; expected"),
        (lambda _: [[0], [1, 2]], r"answered in list of list; expected"),
        (lambda _: 1, r"answers of shape \[\] to 2 images"),
        (lambda _: torch.tensor([True, False]), r"answered in torch.bool; expected"),
    ],
)
def test_whatever_a_teacher_of_ones_own_answers_wrong_is_one_line(
    answer: Callable[[Tensor], Tensor], message: str
) -> None:
    for teacher in (Budget(_Answering(answer)), Budget(Batching(_Answering(answer), pad=False))):
        with pytest.raises(TeacherError, match=message) as raised:
            teacher.decide(torch.zeros(2, 1, 2, 2))
        assert "\n" not in str(raised.value)


def test_a_budget_alone_counts_what_was_sent_and_no_more() -> None:
    """Of an ask that fails in its second call, the third was never sent."""

    def second_fails(images: Tensor) -> Tensor:
        if adapter.called == 2:
            raise TeacherError("gone")
        return _zeros(images)

    adapter = _Answering(second_fails)
    teacher = Budget(Batching(adapter, pad=False))
    with pytest.raises(TeacherError, match="gone"):
        teacher.decide(torch.zeros(10, 1, 2, 2))
    assert (teacher.costs.sent, teacher.costs.asked) == (8, 0)
    teacher.decide(torch.zeros(10, 1, 2, 2))
    assert (teacher.costs.sent, teacher.costs.asked) == (14, 10)  # the four answered are not sent again


def test_a_budget_alone_counts_beside_whoever_else_listens() -> None:
    heard: list[int] = []
    teacher = Budget(Batching(_areas(), sending=heard.append), total=8)
    teacher.decide(torch.rand(7, 3, 2, 2))
    assert (heard, teacher.costs.sent) == ([6, 1], 7)
    with pytest.raises(BudgetSpent):
        teacher.decide(torch.rand(2, 3, 2, 2))
