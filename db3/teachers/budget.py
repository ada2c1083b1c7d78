"""Budget: what may still be sent to a teacher, and the one record of what its whole stack has cost."""

import threading
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from db3.errors import BudgetSpent
from db3.teachers.base import Announcing, Teacher
from db3.teachers.checks import checked_decisions, read_images

UNCLEAR = ("nothing", "several", "off_list")
TOKENS = ("input_tokens", "output_tokens")
COUNTS = ("asked", "known", "sent", "answered", "votes", "compared", "changed", *UNCLEAR, *TOKENS)
"""The numbers of a record, as files and manifests name them."""
Images = (
    Float[Tensor, "n c h w"] | UInt8[Tensor, "n c h w"] | Float[np.ndarray, "n c h w"] | UInt8[np.ndarray, "n c h w"]
)
"""What a budget's `decide` takes."""


@dataclass
class Costs:
    """What a teacher's stack has cost: one record, to which each layer adds its part; any thread may.

    Attributes:
        asked: images that an algorithm wanted decided (`Budget`).
        known: those of them for which nothing was sent: they had been answered already (`db3.teachers.answers`).
        sent: images sent, every attempt, without what fills a call up: what is billed (the adapter).
        answered: answers that came back for these.
        votes: answers that the decisions were made of, those known included (`Votes`).
        compared: images that were answered twice or more (`Votes`).
        changed: those of them whose first two answers differ.
        nothing: answers that came back and named no class, as `teacher.unclear` allows (the adapter).
        several: likewise, more than one class.
        off_list: likewise, none of the model's classes.
        input_tokens: of the questions that the answers were billed for, where they say it (the adapter).
        output_tokens: likewise, of the answers themselves.
        before: images that earlier runs of the same work have sent.
        limit: `before` and `sent` together never exceed it; None: no limit.
    """

    asked: int = 0
    known: int = 0
    sent: int = 0
    answered: int = 0
    votes: int = 0
    compared: int = 0
    changed: int = 0
    nothing: int = 0
    several: int = 0
    off_list: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    before: int = 0
    limit: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def send(self, count: int) -> None:
        """Count `count` images as sent; to be called just before every attempt to send them, retries included.

        A negative count takes back what was announced but reached nobody.

        Raises:
            BudgetSpent: they would be too many: none of them may be sent, and none is counted.
        """
        with self._lock:
            self.require(count)
            self.sent += count

    def require(self, count: int) -> None:
        """Refuse, as `send` would, a count that is more than what is left; nothing is counted."""
        if self.limit is not None and count > 0 and self.before + self.sent + count > self.limit:
            raise budget_spent(count, self.before + self.sent, self.limit)

    def add(self, **counts: int) -> None:
        """Add to the counts that need no permission, by their names."""
        with self._lock:
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)

    def count(self, name: str, number: int) -> None:
        """Add to one of them (`db3.teachers.base.Counted`)."""
        self.add(**{name: number})

    def counts(self) -> dict[str, int]:
        """The numbers by name."""
        return {name: getattr(self, name) for name in COUNTS}


def budget_spent(count: int, sent: int, limit: int) -> BudgetSpent:
    """The refusal of `count` images after `sent`, of `limit` that may be."""
    return BudgetSpent(
        f"{count} images more would make {sent + count} sent, of {limit} that may be: raise budget.total to go on from "
        "here"
    )


class Budget:
    """The outermost layer: checks images before they are sent and decisions before they are believed, and counts.

    Args:
        teacher: the layers below.
        total: images that may be sent in all; None: any number.
        costs: the record that the layers below add to, with its own limit; without it the teacher is `Batching` around
            an adapter, which announces every attempt, or one of which each image asked is taken to be sent once.
    """

    def __init__(self, teacher: Teacher, total: int | None = None, *, costs: Costs | None = None) -> None:
        if costs is not None and total is not None:
            raise ValueError("a budget takes a total or a record of costs, which has a limit of its own; not both")
        self._alone, self.spec = costs is None, teacher.spec
        self.costs = Costs(limit=total) if costs is None else costs
        self._announced = costs is not None or isinstance(teacher, Announcing)
        self._teacher = (
            teacher.announcing(self.costs.send) if self._alone and isinstance(teacher, Announcing) else teacher
        )

    def decide(self, images: Images) -> Int[Tensor, " n"]:
        """Top-1 class of each image.

        Args:
            images: [n, C, H, W], a tensor or an array: floats within `spec.bounds`, or uint8 pixels 0 … 255.

        Raises:
            DataError: an image is not as `spec` says; nothing was sent.
            BudgetSpent: the budget does not pay for them all.
            TeacherError: the teacher broke its contract.
        """
        images = read_images(images, self.spec)
        if self._alone:
            self.costs.require(len(images))
        if not self._announced:
            self.costs.send(len(images))
        answers = checked_decisions(self._teacher.decide(images), len(images), self.spec).to(images.device)
        alone = len(images) if self._alone else 0
        self.costs.add(asked=len(images), votes=alone, answered=alone)
        return answers
