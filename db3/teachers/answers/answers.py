"""Answers: what is known already is answered from a store, the rest asked and kept before it is told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from db3.errors import BudgetSpent
from db3.teachers.base import PartlyAnsweredError, TeacherSpec
from db3.teachers.budget import Costs
from db3.teachers.checks import check_decisions
from db3.teachers.votes import Votes


@dataclass(frozen=True)
class Known:
    """What a store knows of the images of one call.

    Attributes:
        known: which of them it has an answer to.
        decisions: these answers; 0 elsewhere.
        votes: answers that they were made of, images compared, images changed (`db3.teachers.budget.Costs`).
    """

    known: Bool[np.ndarray, " n"]
    decisions: Int[np.ndarray, " n"]
    votes: tuple[int, int, int]


@runtime_checkable
class Store(Protocol):
    """Where answers are kept: of each call it is asked `find` first, then told at most one of the others."""

    def find(self, images: Float[Tensor, "n c h w"]) -> Known:
        """What is known of the images."""
        ...

    def add(self, decisions: Int[np.ndarray, " n"], votes: tuple[int, int, int]) -> None:
        """Keep the answers to all images that were looked for last."""
        ...

    def add_part(self, known: Bool[np.ndarray, " n"], decisions: Int[np.ndarray, " n"]) -> None:
        """Keep the answers to some of them; the call failed before there were more."""
        ...


class Answers:
    """A teacher whose every answer is kept, and asked for only once.

    Once a call has failed every later one fails likewise: a store may know answers by their order, and theirs would
    stand in the wrong place.

    Args:
        spec: of the teacher.
        ask: gives the layers below, which add to `costs`; called when something is to be asked that is not known.
        store: of this piece of work.
        costs: the stack's record.
    """

    def __init__(self, spec: TeacherSpec, ask: Callable[[], Votes], store: Store, costs: Costs) -> None:
        self.spec = spec
        self._ask, self._store, self._costs = ask, store, costs
        self._teacher: Votes | None = None
        self._failed: Exception | None = None

    @property
    def spent(self) -> bool:
        """Whether the budget has refused a call."""
        return isinstance(self._failed, BudgetSpent)

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        if not len(images):
            return torch.empty(0, dtype=torch.int64, device=images.device)
        if self._failed:
            raise self._failed
        try:
            return torch.from_numpy(self._decide(images)).to(images.device)
        except Exception as error:
            self._failed = error
            raise

    def _decide(self, images: Float[Tensor, "n c h w"]) -> Int[np.ndarray, " n"]:
        found, decisions = self._store.find(images), None
        if not found.known.all():
            before = self._votes()
            decisions = self._complete(images, found)
            first, second, third = (
                now - then + old for now, then, old in zip(self._votes(), before, found.votes, strict=True)
            )
            self._store.add(decisions, (first, second, third))
        votes, compared, changed = found.votes
        self._costs.add(known=int(found.known.sum()), votes=votes, compared=compared, changed=changed)
        return found.decisions if decisions is None else decisions

    def _votes(self) -> tuple[int, int, int]:
        return self._costs.votes, self._costs.compared, self._costs.changed

    def _complete(self, images: Float[Tensor, "n c h w"], found: Known) -> Int[np.ndarray, " n"]:
        """Ask about the images that are not known; what is answered before a failure is kept."""
        self._teacher = self._teacher or self._ask()
        known, decisions, missing = found.known.copy(), found.decisions.copy(), np.flatnonzero(~found.known)
        try:
            rest = images[torch.from_numpy(missing).to(images.device)] if known.any() else images
            answers = self._teacher.decide(rest)
        except PartlyAnsweredError as error:
            here = error.known.numpy()
            check_decisions(error.decisions[error.known], int(here.sum()), self.spec)
            known[missing[here]], decisions[missing[here]] = True, error.decisions.numpy()[here]
            self._store.add_part(known, decisions)
            raise error.cause from error
        check_decisions(answers, len(missing), self.spec)
        decisions[missing] = answers.cpu().numpy()
        return decisions
