"""The driver: full calls, no dependence on packing, every answer where it belongs."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from db3.search.driver import drive, replay
from db3.search.ledger import Asks, Search
from db3.search.methods.bd import boundary_distance
from db3.search.methods.mbd import minimal_boundary_distance
from db3.teachers.adapters.batching import Batching
from tests.search.problems import Constant, Recording, block, brightest, drawn, half_space

SHAPE = (1, 4, 4)


def _searches(blocks: int = 4, pairs: int = 6, budget: int = 40) -> tuple[list[Search], Iterator[Asks]]:
    """MBD searches towards a bright image, some pairs easy, some hard."""
    images = drawn(blocks * pairs, *SHAPE, seed=3) * 0.4
    starts = 0.7 + 0.3 * drawn(blocks * pairs, 1, 16, seed=4)
    searches = []
    for number in range(blocks):
        rows = torch.arange(number * pairs, (number + 1) * pairs)
        searches.append(Search(block(images[rows], samples=rows), budget))

    def asks(number: int, search: Search) -> Asks:
        start = starts[number * pairs : (number + 1) * pairs]
        yield from boundary_distance(search, start, 0.01)
        yield from minimal_boundary_distance(search, 0, 10, 0.1, 0.2, 0.01)

    return searches, (asks(number, search) for number, search in enumerate(searches))


def _results(max_batch: int, in_flight: int) -> list[Tensor]:
    searches, asks = _searches()
    answers = drive(asks, replace(half_space(SHAPE), max_batch=max_batch), in_flight)
    return [*answers, *(search.distance for search in searches), *(search.best for search in searches)]


@pytest.mark.parametrize("max_batch", [1, 7, 4096])
@pytest.mark.parametrize("in_flight", [1, 3, 8])
def test_results_do_not_depend_on_the_packing(max_batch: int, in_flight: int) -> None:
    expected = _results(max_batch=64, in_flight=2)
    found = _results(max_batch, in_flight)
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def _ask_sizes(*sizes: int) -> Asks:
    """A search that asks this many images at a time, whatever it is told."""
    for size in sizes:
        yield torch.zeros(size, 16)


@pytest.mark.parametrize("in_flight", [1, 2, 4])
def test_calls_are_full_while_enough_is_waiting(in_flight: int) -> None:
    """A multiple of the call shape is asked for, and less than one call only when nobody waits for more."""
    teacher = Recording(replace(half_space(SHAPE), max_batch=10))
    sizes = [(25, 3), (7, 7), (1, 40), (12,), (500,)]
    drive((_ask_sizes(*asked) for asked in sizes), teacher, in_flight)
    asked = [len(call) for call in teacher.calls]
    assert sum(asked) == sum(map(sum, sizes))
    assert all(count % 10 == 0 or count < 10 for count in asked)
    assert max(asked) < 200
    if in_flight == 1:
        assert asked[:6] == [20, 5, 3, 7, 7, 1]
    if in_flight == 4:
        assert asked[0] == 20


def test_what_is_left_of_several_asks_goes_out_as_soon_as_it_fills_a_call() -> None:
    """The searches that it completes go on while the teacher is busy with another one's full calls."""
    teacher = Recording(replace(half_space(SHAPE), max_batch=10))
    drive((_ask_sizes(size) for size in (24, 26, 30)), teacher, in_flight=3)
    assert [len(call) for call in teacher.calls] == [20, 20, 10, 30]


def test_the_teacher_is_asked_again_before_the_next_search_is_told() -> None:
    """Three searches wait for one call; the first one told fills the next before the others are told."""
    asked_again = threading.Event()

    class Watched(Recording):
        def decide(self, images: Tensor) -> Tensor:
            if self.calls:
                asked_again.set()
            return super().decide(images)

    def waits_for_the_teacher() -> Asks:
        yield torch.zeros(3, 16)
        assert asked_again.wait(timeout=30)

    searches = [_ask_sizes(4, 10), waits_for_the_teacher(), waits_for_the_teacher()]
    drive(iter(searches), Watched(replace(half_space(SHAPE), max_batch=10)), in_flight=3)


def test_a_wrapped_teacher_sees_one_call_shape_only() -> None:
    teacher = Recording(replace(half_space(SHAPE), max_batch=10))
    drive((_ask_sizes(*asked) for asked in [(25, 3), (7, 7)]), Batching(teacher))
    assert {len(call) for call in teacher.calls} == {10}


def test_every_search_gets_its_own_answers_in_its_own_order() -> None:
    teacher = brightest(SHAPE)
    images = [drawn(count, 16, seed=count) for count in (5, 1, 30, 12)]

    def asks(mine: Tensor) -> Asks:
        told = yield mine
        assert torch.equal(told, teacher.decide(mine.view(-1, *SHAPE)))
        told = yield mine.flip(0)
        assert torch.equal(told, teacher.decide(mine.flip(0).view(-1, *SHAPE)))

    answers = drive((asks(mine) for mine in images), replace(teacher, max_batch=7), in_flight=3)
    for mine, told in zip(images, answers, strict=True):
        assert torch.equal(told, teacher.decide(torch.cat([mine, mine.flip(0)]).view(-1, *SHAPE)))


def test_searches_begin_only_when_there_is_room_for_them() -> None:
    begun: list[int] = []
    ended: list[int] = []

    def asks(number: int) -> Asks:
        begun.append(number)
        assert len(begun) - len(ended) <= 3
        yield torch.zeros(1 + number % 4, 16)
        ended.append(number)

    drive((asks(number) for number in range(10)), Constant(0, SHAPE), in_flight=3)
    assert begun == list(range(10))
    assert sorted(ended) == begun


def test_a_search_that_asks_nothing_has_no_answers() -> None:
    answers = drive(iter([_ask_sizes(), _ask_sizes(2), _ask_sizes()]), Constant(1, SHAPE))
    assert [told.tolist() for told in answers] == [[], [1, 1], []]
    assert drive(iter([]), Constant(1, SHAPE)) == []


def test_answers_need_not_be_kept() -> None:
    (one, *_), asks = _searches()
    (other, *_), again = _searches()
    teacher = half_space(SHAPE)
    kept, left = drive(asks, teacher), drive(again, teacher, keep=False)
    assert all(len(answers) for answers in kept)
    assert [answers.tolist() for answers in left] == [[]] * len(kept)
    assert torch.equal(one.distance, other.distance)


def test_progress_is_told_every_image() -> None:
    told: list[int] = []
    drive(iter([_ask_sizes(20, 3), _ask_sizes(4)]), Constant(0, SHAPE), on_asked=told.append)
    assert sum(told) == 27


def test_a_teacher_that_fails_ends_the_drive() -> None:
    class Failing(Constant):
        def decide(self, images: Tensor) -> Tensor:  # noqa: ARG002
            raise ConnectionError("the line is down")

    with pytest.raises(ConnectionError, match="the line is down"):
        drive(iter([_ask_sizes(1)]), Failing(0, SHAPE))


def test_nothing_more_is_asked_once_a_call_has_failed() -> None:
    """At most the ask that was waiting already: every call may cost money."""

    class Once(Constant):
        calls = 0

        def decide(self, images: Tensor) -> Tensor:
            self.calls += 1
            if self.calls > 1:
                raise ConnectionError("the line is down")
            return super().decide(images)

    teacher = Once(0, SHAPE)
    with pytest.raises(ConnectionError, match="the line is down"):
        drive((_ask_sizes(*[16] * 9) for _ in range(8)), teacher)
    assert teacher.calls <= 3


@pytest.mark.parametrize("in_flight", [1, 5])
def test_the_order_of_the_calls_is_always_the_same(in_flight: int) -> None:
    """The teacher's thread may be faster or slower than the searches: that changes nothing that is asked."""

    class Slow(Recording):
        def decide(self, images: Tensor) -> Tensor:
            if len(self.calls) % 3 == 0:
                time.sleep(0.002)
            return super().decide(images)

    calls = []
    for kind in (Recording, Slow):
        teacher = kind(replace(half_space(SHAPE), max_batch=16))
        drive(_searches()[1], teacher, in_flight)
        calls.append(teacher.calls)
    assert len(calls[0]) == len(calls[1])
    assert all(torch.equal(one, other) for one, other in zip(*calls, strict=True))


def test_replay_rebuilds_a_search_from_its_answers() -> None:
    searches, asks = _searches(blocks=3)
    answers = drive(asks, half_space(SHAPE))
    again, asks = _searches(blocks=3)
    for number, search_asks in enumerate(asks):
        assert replay(search_asks, answers[number]) == len(answers[number])
        assert torch.equal(again[number].distance, searches[number].distance)


def test_replay_refuses_a_journal_that_ends_early() -> None:
    _, asks = _searches(blocks=1)
    (answers,) = drive(asks, half_space(SHAPE))
    _, asks = _searches(blocks=1)
    with pytest.raises(ValueError, match="the journal ends after"):
        replay(next(asks), answers[:-1])
