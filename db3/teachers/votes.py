"""Votes: several answers to each image, for a teacher that changes its mind."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.teachers.base import PartlyAnsweredError, Teacher
from db3.teachers.budget import Costs


class Votes:
    """Ask each image up to `votes` times and answer with the class given most often (the lowest on a tie).

    An image whose leading class cannot be caught up with any more is not asked again: with three votes, two that agree
    suffice. Every vote is sent, and billed. A call whose votes the limit might not allow is not begun.

    Args:
        teacher: answers each image afresh every time.
        votes: n ≥ 1; 1 passes every image through once.
        costs: the stack's record; the first two votes say on it how constant the teacher is.
    """

    def __init__(self, teacher: Teacher, votes: int, costs: Costs) -> None:
        if votes < 1:
            raise ValueError(f"votes is {votes}; expected 1 or more")
        self._teacher, self._votes, self._costs, self.spec = teacher, votes, costs, teacher.spec

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        self._costs.require(len(images) * self._votes)
        if self._votes == 1 or not len(images):
            return self._ask(images)
        try:
            return self._settle(images)
        except PartlyAnsweredError as error:  # a vote alone decides nothing
            raise error.cause from error

    def _settle(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        first = self._ask(images)
        counts = torch.zeros(len(images), self.spec.classes, dtype=torch.int64, device=first.device)
        counts.scatter_(1, first[:, None], 1)
        waiting = torch.arange(len(images), device=first.device)
        for vote in range(1, self._votes):
            answers = self._ask(images[waiting])
            if vote == 1:
                self._costs.add(compared=len(images), changed=int((first != answers).sum()))
            counts[waiting, answers] += 1
            lead = counts[waiting].topk(2, dim=1).values
            waiting = waiting[lead[:, 0] - lead[:, 1] <= self._votes - 1 - vote]
            if not len(waiting):
                break
        return counts.argmax(dim=1)

    def _ask(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        answers = self._teacher.decide(images)
        self._costs.add(votes=len(images))
        return answers
