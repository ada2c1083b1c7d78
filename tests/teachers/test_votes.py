"""Several votes per image: the cost is counted, the constancy measured, the answer steadier."""

import pytest
import torch
from torch import Tensor

from db3.teachers.base import TeacherSpec
from db3.teachers.budget import Budget, Costs
from db3.teachers.votes import Votes
from db3.testing.analytic import Brightest
from tests.contracts.teacher import TeacherContract
from tests.teachers.unsteady import Unsteady


class _Told:
    """Answers from a list, one per image asked."""

    spec = TeacherSpec((1, 1, 1), (0.0, 1.0), 3, 64, "told")

    def __init__(self, *answers: int) -> None:
        self._answers = list(answers)

    def decide(self, images: Tensor) -> Tensor:
        told, self._answers = self._answers[: len(images)], self._answers[len(images) :]
        return torch.tensor(told, dtype=torch.int64)


class TestVotes(TeacherContract):
    @pytest.fixture
    def teacher(self) -> Votes:
        return Votes(Brightest(torch.arange(12).view(3, 2, 2) % 4, max_batch=64), 3, Costs())


def test_two_that_agree_end_a_vote_of_three() -> None:
    costs = Costs()
    teacher = Votes(_Told(2, 1, 2, 0, 0), 3, costs)  # image 0: 2, 2; image 1: 1, 0, then 0
    assert teacher.decide(torch.zeros(2, 1, 1, 1)).tolist() == [2, 0]
    assert (costs.votes, costs.compared, costs.changed) == (5, 2, 1)


def test_a_tie_goes_to_the_lowest_class() -> None:
    assert Votes(_Told(2, 1, 0), 3, Costs()).decide(torch.zeros(1, 1, 1, 1)).tolist() == [0]
    assert Votes(_Told(2, 1), 2, Costs()).decide(torch.zeros(1, 1, 1, 1)).tolist() == [1]


def test_one_vote_passes_through() -> None:
    costs = Costs()
    teacher = Votes(_Told(1, 2), 1, costs)
    assert teacher.decide(torch.zeros(2, 1, 1, 1)).tolist() == [1, 2]
    assert (costs.votes, costs.compared) == (2, 0)


def test_no_vote_is_refused() -> None:
    with pytest.raises(ValueError, match="votes is 0"):
        Votes(_Told(), 0, Costs())


def test_images_asked_and_votes_are_told_apart() -> None:
    costs = Costs()
    teacher = Budget(Votes(_Told(1, 1, 1, 2, 2), 3, costs), costs=costs)
    teacher.decide(torch.zeros(1, 1, 1, 1))
    teacher.decide(torch.zeros(1, 1, 1, 1))
    assert (costs.asked, costs.votes, costs.changed) == (2, 5, 1)


def test_votes_make_an_unsteady_teacher_steadier() -> None:
    steady = Brightest(torch.arange(16).view(1, 4, 4) % 2, max_batch=512)
    images = torch.rand(2000, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    truth = steady.decide(images)
    wrong = {
        votes: float((Votes(Unsteady(steady, 0.1), votes, Costs()).decide(images) != truth).float().mean())
        for votes in (1, 3, 7)
    }
    assert wrong[1] == pytest.approx(0.1, abs=0.025)
    assert wrong[3] == pytest.approx(0.028, abs=0.015)  # 3·0.1²·0.9 + 0.1³
    assert wrong[7] < 0.01
