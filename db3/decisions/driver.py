"""The driver: the only caller of `decide`. It packs the asks of many searches into full teacher calls."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.decisions.search import Asks
from db3.teachers.base import Teacher

_CALLS_AT_ONCE = 16  # fewer rounds of this loop for a small call shape; the teacher's wrapper cuts it into calls


@dataclass
class _Live:
    """A running search: the ask that waits, and the answers so far."""

    place: int
    asks: Asks
    images: Float[Tensor, "m d"]
    sent: int = 0
    told: list[Int[Tensor, " _"]] = field(default_factory=list)
    answers: list[Int[Tensor, " _"]] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        return len(self.images) - self.sent


def drive(
    searches: Iterable[Asks], teacher: Teacher, in_flight: int = 8, on_asked: Callable[[int], None] | None = None
) -> list[Int[Tensor, " _"]]:
    """Run searches to their end.

    Args:
        searches: generators of asks; started lazily, so that memory is bounded by `in_flight` of them.
        teacher: decides; asked a multiple of `spec.max_batch` images at a time while enough are waiting, so wrapped in
            `Batching`, which cuts that into calls of one shape.
        in_flight: how many searches run at once. Results do not depend on it.
        on_asked: told the number of images after every call (progress).

    Returns:
        For each search, in the order given, its answers in the order it asked: enough to replay it with no teacher.
    """
    waiting = enumerate(searches)
    live: deque[_Live] = deque()
    answers: dict[int, Int[Tensor, " _"]] = {}
    while True:
        while len(live) < in_flight and (started := _start(waiting, answers)):
            live.append(started)
        if not live:
            return [answers[place] for place in sorted(answers)]
        parts = _take(live, _room(live, teacher.spec.max_batch))
        images = torch.cat([part for _, part in parts]).view(-1, *teacher.spec.input_shape)
        decisions = teacher.decide(images)
        if on_asked:
            on_asked(len(images))
        for (search, _), told in zip(parts, torch.split(decisions, [len(part) for _, part in parts]), strict=True):
            search.told.append(told)
        for search in [search for search in live if not search.waiting]:
            if not _tell(search):
                live.remove(search)
                answers[search.place] = torch.cat(search.answers)


def _start(waiting: Iterator[tuple[int, Asks]], answers: dict[int, Int[Tensor, " _"]]) -> _Live | None:
    """The next search that asks anything; one that ends at once has no answers."""
    for place, asks in waiting:
        try:
            return _Live(place, asks, next(asks))
        except StopIteration:
            answers[place] = torch.empty(0, dtype=torch.int64)
    return None


def _room(live: Iterable[_Live], size: int) -> int:
    """How many images to ask for at once: full calls only, unless every search waits for less than one."""
    waiting = sum(search.waiting for search in live)
    return min(waiting - waiting % size or waiting, size * _CALLS_AT_ONCE)


def _take(live: Iterable[_Live], room: int) -> list[tuple[_Live, Float[Tensor, "_ d"]]]:
    """Take `room` of the waiting images, first come first served."""
    parts = []
    for search in live:
        part = search.images[search.sent : search.sent + room]
        if len(part):
            parts.append((search, part))
            search.sent += len(part)
            room -= len(part)
        if not room:
            break
    return parts


def _tell(search: _Live) -> bool:
    """Hand a search all its decisions; false when that ended it."""
    decisions = torch.cat(search.told)
    search.answers.append(decisions)
    search.told = []
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
            told = journal[used : used + len(images)]
            if len(told) < len(images):
                raise ValueError(f"the journal ends after {len(journal)} answers, but the search asks for more")
            used += len(images)
            images = asks.send(told)
    except StopIteration:
        return used
