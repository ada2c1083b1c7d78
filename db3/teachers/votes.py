"""Votes: several answers to each image, for a teacher that changes its mind."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from db3.teachers.base import Teacher, TeacherSpec
from db3.teachers.budget import Costs
from db3.teachers.checks import checked_decisions

Places = Int[np.ndarray, " _"]
_again: ContextVar[bool] = ContextVar("asking_again", default=False)


@contextmanager
def asking_again() -> Iterator[None]:
    """Within this block, here and in threads that copy its context, a decision is made of later answers than those
    that made the first one: what is known of an image settles it no more.
    """
    token = _again.set(True)
    try:
        yield
    finally:
        _again.reset(token)


@runtime_checkable
class Ballot(Protocol):
    """The answers to the images of one call, numbered 0, 1, … for each image.

    Attributes:
        known: int64 [n], answers to each image that are known.
    """

    known: Places

    def missing(self, votes: Places) -> int:
        """Images that have to be sent until there are `votes[i]` answers to image i; equal ones count once."""
        ...

    def cast(self, rows: Places, votes: Places) -> Int[np.ndarray, " _"]:
        """Answer number `votes[i]` to image `rows[i]`, the next one after those known at most; sent where it is not."""
        ...

    @property
    def asked(self) -> int:
        """Images of the call that something was sent for; equal ones count once."""
        ...


@runtime_checkable
class Ballots(Protocol):
    """Where single answers come from (`db3.teachers.answers.answers.Answers`)."""

    spec: TeacherSpec

    def look_up(self, images: Float[Tensor, "n c h w"]) -> Ballot:
        """What is known of the images of a call."""
        ...


class Votes:
    """Ask each image up to `votes` times and answer with the class given most often (the lowest on a tie).

    An image whose leading class cannot be caught up with any more is not asked again: with three votes, two that agree
    suffice. Answers that are known vote first; every other vote is sent, and billed. A call whose votes the limit might
    not allow is not begun.

    Args:
        teacher: answers each image afresh every time; or what is known of its answers, and the way to more.
        votes: n ≥ 1; 1 passes every image through once.
        costs: the stack's record; the first two votes say on it how constant the teacher is.
    """

    def __init__(self, teacher: Teacher | Ballots, votes: int, costs: Costs) -> None:
        if votes < 1:
            raise ValueError(f"votes is {votes}; expected 1 or more")
        self._ballots: Ballots = teacher if isinstance(teacher, Ballots) else _AlwaysAsked(teacher, costs)
        self._votes, self._costs, self.spec = votes, costs, teacher.spec

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        if not len(images):
            return torch.empty(0, dtype=torch.int64, device=images.device)
        ballot, first = self._ballots.look_up(images), np.zeros(len(images), np.int64)
        if _again.get():
            _, first, _ = self._settle(ballot, first, ballot.known)
        unsettled = self._settle(ballot, first, ballot.known)[2] if self._votes > 1 else ballot.known <= first
        self._costs.require(ballot.missing((first + self._votes) * unsettled))
        decisions, taken, _ = self._settle(ballot, first)
        self._costs.add(votes=int(taken.sum()), known=len(images) - ballot.asked)
        return torch.from_numpy(decisions).to(images.device)

    def _settle(
        self, ballot: Ballot, first: Places, known: Places | None = None
    ) -> tuple[Places, Places, Bool[np.ndarray, " n"]]:
        """Decisions by the answers from number `first` on, how many each took, and which images want more of them.

        Args:
            ballot: of the call.
            first: number of the first answer that counts.
            known: so many answers at most: nothing is sent, and decisions are of no use. None: as many as it takes.
        """
        rows, wanting = np.arange(len(first)), np.zeros(len(first), bool)
        taken = np.zeros_like(first)
        counts = np.zeros((len(first), self.spec.classes if self._votes > 1 else 0), np.int64)
        answers = opening = first
        for vote in range(self._votes):
            if known is not None:
                short = first[rows] + vote >= known[rows]
                wanting[rows[short]], rows = True, rows[~short]
            if not len(rows):
                break
            answers = ballot.cast(rows, first[rows] + vote)
            taken[rows] += 1
            if self._votes == 1:
                return answers, taken, wanting
            if vote == 0:
                opening = answers
            elif vote == 1 and known is None:
                self._costs.add(compared=len(rows), changed=int((opening != answers).sum()))
            counts[rows, answers] += 1
            lead = np.partition(counts[rows], -2, axis=1)[:, -2:]
            rows = rows[lead[:, 1] - lead[:, 0] <= self._votes - 1 - vote]
        return counts.argmax(axis=1) if counts.size else first, taken, wanting


class _AlwaysAsked:
    """A teacher of whose answers nothing is kept."""

    def __init__(self, teacher: Teacher, costs: Costs) -> None:
        self._teacher, self._costs, self.spec = teacher, costs, teacher.spec

    def look_up(self, images: Float[Tensor, "n c h w"]) -> Ballot:
        return _Unknown(self._teacher, images, self._costs)


class _Unknown:
    def __init__(self, teacher: Teacher, images: Float[Tensor, "n c h w"], costs: Costs) -> None:
        self._teacher, self._images, self._costs = teacher, images, costs
        self.known, self.asked = np.zeros(len(images), np.int64), len(images)

    def missing(self, votes: Places) -> int:
        return int(votes.sum())

    def cast(self, rows: Places, votes: Places) -> Int[np.ndarray, " _"]:  # noqa: ARG002 - they are all alike
        every = len(rows) == len(self._images)
        images = self._images if every else self._images[torch.from_numpy(rows).to(self._images.device)]
        answers = checked_decisions(self._teacher.decide(images), len(rows), self._teacher.spec)
        self._costs.add(answered=len(rows))
        decisions: Int[np.ndarray, " _"] = answers.cpu().numpy()
        return decisions
