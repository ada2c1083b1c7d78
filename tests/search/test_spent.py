"""A teacher that refuses to go on: every search ends there, anytime, with what it knows."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from db3.errors import BudgetSpent
from db3.search import SearchSettings, TransferImages, search_distances
from db3.search.driver import drive
from db3.search.ledger import Asks
from db3.search.surrogate.surrogate import SurrogateSettings
from db3.settings.search import MethodName
from db3.teachers.adapters.batching import Batching
from db3.teachers.base import Teacher, TeacherSpec
from tests.search.problems import GREY, brightest, pool, truth

pytestmark = pytest.mark.usefixtures("small_calls", "few_steps", "unchecked")

SURROGATE = SurrogateSettings(architecture="compact", networks=1, steps=4, retrain=2)


class Refusing:
    """Decides up to so many images, then refuses every call."""

    def __init__(self, teacher: Teacher, maximum: int) -> None:
        self._teacher, self._maximum = teacher, maximum
        self.asked = 0

    @property
    def spec(self) -> TeacherSpec:
        return self._teacher.spec

    def decide(self, images: Tensor) -> Tensor:
        if self.asked + len(images) > self._maximum:
            self._maximum = 0
            raise BudgetSpent("enough")
        self.asked += len(images)
        return self._teacher.decide(images)


EXACT = replace(brightest(GREY), max_batch=16)


def _problem() -> tuple[Teacher, TransferImages]:
    teacher = Batching(EXACT)
    return teacher, pool(teacher, 40)


@pytest.mark.parametrize("name", ["bd", "mbd", "semicircle", "auto"])
@pytest.mark.parametrize("maximum", [0, 150])
def test_what_is_known_stands_and_what_is_not_is_said(name: MethodName, maximum: int) -> None:
    teacher, samples = _problem()
    method = SearchSettings(name, budget=20, starts=2, checkpoints=(5,), points=2, queried_images=9)
    rows = range(10)
    whole = search_distances(teacher, samples, rows, method, surrogate=SURROGATE)
    refusing = Refusing(teacher, maximum)
    found = search_distances(refusing, samples, rows, method, surrogate=SURROGATE)
    assert refusing.asked <= maximum
    assert found.asked.sum() <= refusing.asked
    assert not whole.unfinished.any()
    assert found.unfinished.any()
    assert (found.asked <= 20).all()
    # Nearest samples are known without a query, and no distance is below the truth.
    reached = np.isfinite(whole.distances)
    assert (np.isfinite(found.distances) == reached).all()
    exact = truth(EXACT, samples)[:10]
    assert (found.distances[reached] >= exact[reached] - 1e-4).all()


def test_more_money_never_makes_a_bisection_worse() -> None:
    teacher, samples = _problem()
    method = SearchSettings("bd", budget=12)
    found = [
        search_distances(Refusing(teacher, maximum), samples, range(20), method) for maximum in (0, 100, 300, 10**6)
    ]
    for one, other in pairwise(found):
        assert (other.distances <= one.distances).all()
    assert [part.unfinished.any() for part in found] == [True, True, True, False]


def test_a_search_that_cannot_end_early_ends_the_drive() -> None:
    def asks() -> Asks:
        yield torch.zeros(3, 16)

    with pytest.raises(BudgetSpent, match="enough"):
        drive([asks()], Refusing(Batching(brightest((1, 4, 4))), 0))


def test_searches_that_were_never_begun_end_too() -> None:
    ended: list[int] = []

    def asks(number: int) -> Asks:
        try:
            yield torch.zeros(3, 16)
            yield torch.zeros(2, 16)
        except BudgetSpent:
            ended.append(number)

    answers = drive((asks(number) for number in range(9)), Refusing(Batching(brightest((1, 4, 4))), 7), in_flight=2)
    assert ended == list(range(9))
    assert [len(told) for told in answers[2:]] == [0] * 7
