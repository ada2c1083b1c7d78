"""The driver: the only caller of `decide`. It packs the asks of many searches into full teacher calls."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.errors import BudgetSpent
from db3.search.ledger import Asks
from db3.teachers.base import Teacher
from db3.teachers.checks import checked_decisions

_CALLS_AT_ONCE = 16  # fewer rounds of this loop for a small call shape; the teacher's wrapper cuts it into calls
_AHEAD = 1  # asks that wait for the teacher while it answers another: it never waits for a search
_NONE = torch.empty(0, dtype=torch.int64)


@dataclass
class _Live:
    """A running search: the ask that waits, and the answers so far."""

    place: int
    asks: Asks
    images: Float[Tensor, "m d"]
    kept: bool
    sent: int = 0
    decided: list[Int[Tensor, " _"]] = field(default_factory=list)
    answers: list[Int[Tensor, " _"]] = field(default_factory=list)

    def journal(self) -> Int[Tensor, " _"]:
        return torch.cat(self.answers).cpu() if self.answers else _NONE

    @property
    def waiting(self) -> int:
        return self.images.shape[0] - self.sent

    def take(self, room: int) -> Float[Tensor, "_ d"]:
        """The next waiting images, `room` at most: a view, nothing is copied."""
        part = self.images[self.sent : self.sent + room]
        self.sent += part.shape[0]
        return part


_Part = tuple[_Live, Float[Tensor, "_ d"]]


def drive(
    searches: Iterable[Asks],
    teacher: Teacher,
    in_flight: int = 8,
    on_asked: Callable[[int], None] | None = None,
    keep: bool = True,
) -> list[Int[Tensor, " _"]]:
    """Run searches to their end.

    The teacher decides in a thread of its own, in the caller's context: while it answers one ask, the searches
    answered before prepare their next, on another core where one is idle. What is asked, and in which order, does not
    depend on either's speed.

    Args:
        searches: generators of asks; started lazily, so that memory is bounded by `in_flight` of them.
        teacher: decides; asked a multiple of `spec.max_batch` images at a time while enough are waiting, so wrapped in
            `Batching`, which cuts that into calls of one shape.
        in_flight: how many searches run at once. Results do not depend on it.
        on_asked: called with the number of images after every call (progress).
        keep: whether answers are kept; each takes eight bytes.

    Returns:
        For each search, in the order given, its answers in the order it asked (on the CPU): enough to replay it with
        no teacher. Empty where they are not kept.

    A teacher that raises BudgetSpent ends all searches, those not begun too: the error is raised inside each of them,
    where it asks, and one that catches it keeps what it knows. Answers to a part of an ask are of no use to it.

    Raises:
        BudgetSpent: a search did not catch it.
    """
    teaching = ThreadPoolExecutor(1, "teacher")
    try:
        return _drive(enumerate(searches), teacher, in_flight, on_asked or (lambda _: None), teaching, keep)
    finally:
        teaching.shutdown(cancel_futures=True)


def _drive(
    waiting: Iterator[tuple[int, Asks]],
    teacher: Teacher,
    in_flight: int,
    on_asked: Callable[[int], None],
    teaching: ThreadPoolExecutor,
    keep: bool,
) -> list[Int[Tensor, " _"]]:
    live: list[_Live] = []
    answers: dict[int, Int[Tensor, " _"]] = {}
    context = copy_context()
    asked: deque[tuple[list[_Part], Future[Tensor]]] = deque()

    def ask(whole: bool) -> None:
        """Keep the teacher busy: nothing more than what it answers now and `_AHEAD` asks wait for it."""
        while len(asked) <= _AHEAD and (parts := _take(live, teacher.spec.max_batch, whole or bool(asked))):
            images = parts[0][1] if len(parts) == 1 else torch.cat([part for _, part in parts])
            images = images.view(-1, *teacher.spec.input_shape)
            asked.append((parts, teaching.submit(context.run, teacher.decide, images)))

    while True:
        while len(live) < in_flight and (started := _start(waiting, answers, keep)):
            live.append(started)
        ask(whole=False)
        if not asked:
            return [answers[place] for place in sorted(answers)]
        parts, decided = asked.popleft()
        sizes = [part.shape[0] for _, part in parts]
        try:
            decisions = checked_decisions(decided.result(), sum(sizes), teacher.spec)
        except BudgetSpent as spent:
            return _cut_short(spent, live, waiting, answers)
        for (search, _), part in zip(parts, torch.split(decisions, sizes), strict=True):
            search.decided.append(part)
            if sum(map(len, search.decided)) == search.images.shape[0] and not _tell(search):
                live.remove(search)
                answers[search.place] = search.journal()
            ask(whole=True)  # at once: telling the other searches takes as long as a call or two
        on_asked(sum(sizes))


def _cut_short(
    spent: BudgetSpent,
    live: Sequence[_Live],
    waiting: Iterator[tuple[int, Asks]],
    answers: dict[int, Int[Tensor, " _"]],
) -> list[Int[Tensor, " _"]]:
    """End every search that is left, and give the answers as `drive` does."""
    for search in live:
        _end(search.asks, spent)
        answers[search.place] = search.journal()
    while started := _start(waiting, answers, keep=False):
        _end(started.asks, spent)
        answers[started.place] = _NONE
    return [answers[place] for place in sorted(answers)]


def _end(asks: Asks, spent: BudgetSpent) -> None:
    try:
        asks.throw(spent)
    except StopIteration:
        return
    raise RuntimeError("a search went on asking though the budget is spent")


def _start(waiting: Iterator[tuple[int, Asks]], answers: dict[int, Int[Tensor, " _"]], keep: bool) -> _Live | None:
    """The next search that asks anything; one that ends at once has no answers."""
    for place, asks in waiting:
        try:
            return _Live(place, asks, next(asks), keep)
        except StopIteration:
            answers[place] = _NONE
    return None


def _take(live: Sequence[_Live], size: int, whole: bool) -> list[_Part]:
    """What to ask next: full calls of what is left of several asks, else of one ask, else less than a call.

    Less than a call is nothing if `whole`. Full calls of one ask are a view of it, so only what is left of many is ever
    copied together. That goes first, as soon as it fills a call: the searches that it completes go on while the teacher
    is busy with the others' full calls, where all of them would wait for it at the end.
    """
    left = [search for search in live if 0 < search.waiting < size]
    waiting = sum(search.waiting for search in left)
    if waiting < size:
        for search in live:
            if search.waiting >= size:
                return [(search, search.take(min(search.waiting // size, _CALLS_AT_ONCE) * size))]
    room = min(waiting - waiting % size or (0 if whole else waiting), size * _CALLS_AT_ONCE)
    parts = []
    for search in left:
        if room:
            parts.append((search, search.take(room)))
            room -= parts[-1][1].shape[0]
    return parts


def _tell(search: _Live) -> bool:
    """Hand a search all its decisions; false when that ended it."""
    decisions = search.decided[0] if len(search.decided) == 1 else torch.cat(search.decided)
    if search.kept:
        search.answers.append(decisions)
    search.decided = []
    try:
        search.images, search.sent = search.asks.send(decisions), 0
    except StopIteration:
        return False
    return True


def replay(asks: Asks, journal: Int[Tensor, " _"]) -> int:
    """Run one search against recorded answers instead of a teacher; return how many it used.

    Raises:
        ValueError: the journal ends before the search does: it belongs to another one.
    """
    used = 0
    try:
        images = next(asks)
        while True:
            decisions = journal[used : used + len(images)]
            if len(decisions) < len(images):
                raise ValueError(f"the journal ends after {len(journal)} answers, but the search asks for more")
            used += len(images)
            images = asks.send(decisions.to(images.device))
    except StopIteration:
        return used
