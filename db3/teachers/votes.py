"""Majority: several answers to each image, for a teacher that changes its mind."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.teachers.base import Teacher, TeacherSpec


@dataclass
class Flips:
    """How often a second answer to the very same image differed from the first.

    Attributes:
        compared: images asked twice or more.
        changed: those of them whose first two answers differ.
    """

    compared: int = 0
    changed: int = 0

    @property
    def rate(self) -> float | None:
        """Share of the images compared that changed; None where nothing was asked twice."""
        return self.changed / self.compared if self.compared else None

    def add(self, first: Int[Tensor, " n"], second: Int[Tensor, " n"]) -> None:
        self.compared += len(first)
        self.changed += int((first != second).sum())


class Majority:
    """Ask each image up to `votes` times and answer with the class most often told (the lowest on a tie).

    An image whose leading class cannot be caught up with any more is not asked again: with three votes, two that agree
    suffice. Every vote is a query that is paid.

    Args:
        teacher: answers each image afresh every time.
        votes: n ≥ 1; 1 passes every image through once.

    Attributes:
        votes: n.
        paid: votes cast so far.
        flips: what the first two votes say about the teacher's constancy.
    """

    def __init__(self, teacher: Teacher, votes: int) -> None:
        if votes < 1:
            raise ValueError(f"votes is {votes}; expected 1 or more")
        self._teacher, self.votes = teacher, votes
        self.paid = 0
        self.flips = Flips()

    @property
    def spec(self) -> TeacherSpec:
        return self._teacher.spec

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        first = self._ask(images)
        if self.votes == 1 or not len(images):
            return first
        counts = torch.zeros(len(images), self.spec.classes, dtype=torch.int64, device=first.device)
        counts.scatter_(1, first[:, None], 1)
        waiting = torch.arange(len(images), device=first.device)
        for vote in range(1, self.votes):
            told = self._ask(images[waiting])
            if vote == 1:
                self.flips.add(first, told)
            counts[waiting, told] += 1
            lead = counts[waiting].topk(2, dim=1).values
            waiting = waiting[lead[:, 0] - lead[:, 1] <= self.votes - 1 - vote]
            if not len(waiting):
                break
        return counts.argmax(dim=1)

    def _ask(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        self.paid += len(images)
        return self._teacher.decide(images)
