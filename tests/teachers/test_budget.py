"""Never one image more than may be paid, from however many threads."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from db3.errors import BudgetSpent
from db3.teachers.adapters.batching import Batching
from db3.teachers.budget import Allowance, Paying
from db3.teachers.meter import Meter
from db3.teachers.votes import Majority
from db3.testing.analytic import Brightest
from tests.contracts.teacher import TeacherContract


def _areas() -> Brightest:
    return Brightest(torch.arange(12).view(3, 2, 2) % 4, max_batch=6)


class TestPaying(TeacherContract):
    @pytest.fixture
    def teacher(self) -> Paying:
        return Paying(Batching(_areas()), lambda _: None)


def _sends(allowance: Allowance, count: int) -> bool:
    try:
        allowance.send(count)
    except BudgetSpent:
        return False
    return True


@given(st.integers(0, 200), st.integers(0, 50), st.lists(st.integers(0, 40), max_size=30))
def test_what_is_sent_never_exceeds_the_total(total: int, before: int, counts: list[int]) -> None:
    noted: list[int] = []
    allowance = Allowance(total, before, noted.append)
    sent = [count for count in counts if _sends(allowance, count)]
    assert allowance.paid == before + sum(sent)
    assert noted == sent
    assert not sent or allowance.paid <= total
    # A refused count is too many at that moment: what is left is less.
    refused = [count for count in counts if count not in sent]
    assert all(allowance.paid + count > total for count in refused)


def test_threads_together_never_exceed_it() -> None:
    allowance = Allowance(1000)
    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(lambda number: (number % 7, _sends(allowance, number % 7)), range(2000)))
    assert allowance.paid == sum(count for count, went in sent if went) <= 1000
    assert allowance.paid > 1000 - 7


def test_no_total_is_no_limit() -> None:
    allowance = Allowance()
    allowance.send(10**9)
    assert allowance.paid == 10**9


def test_a_refusal_says_what_was_wanted_in_one_line() -> None:
    with pytest.raises(BudgetSpent, match=r"8 images more would make 13 paid, of 12 that may be: raise budget.total"):
        Allowance(12, paid=5).send(8)


def test_padding_is_not_paid_and_votes_are() -> None:
    allowance = Allowance()
    meter = Meter(Majority(Paying(Batching(_areas()), allowance.send), votes=3))
    meter.decide(torch.rand(7, 3, 2, 2))
    assert (meter.asked, meter.paid, allowance.paid) == (7, 14, 14)
