"""Allowance: how many images may still be sent to a teacher that costs money, counted before each attempt."""

import threading
from collections.abc import Callable

from jaxtyping import Float, Int
from torch import Tensor

from db3.errors import BudgetSpent
from db3.teachers.base import Teacher, TeacherSpec


class Allowance:
    """A count of images paid that never exceeds its total, from however many threads images are sent.

    Args:
        total: images that may be paid in all; None: any number.
        paid: images paid before.
        note: told of every count about to be sent, before it is: what a killed run had in flight can then be told.

    Attributes:
        paid: images sent so far, every attempt.
    """

    def __init__(self, total: int | None = None, paid: int = 0, note: Callable[[int], None] | None = None) -> None:
        self.total, self.paid = total, paid
        self._note = note
        self._lock = threading.Lock()

    def send(self, count: int) -> None:
        """Count `count` images as paid; to be called just before every attempt to send them, retries included.

        Raises:
            BudgetSpent: they would be one too many: none of them may be sent, and none is counted.
        """
        with self._lock:
            self.require(count)
            if self._note:
                self._note(count)
            self.paid += count

    def require(self, count: int) -> None:
        """Refuse, as `send` would, a count that is more than what is left; nothing is counted."""
        if self.total is not None and self.paid + count > self.total:
            raise BudgetSpent(
                f"{count} images more would make {self.paid + count} paid, of {self.total} that may be: raise "
                "budget.total to go on from here"
            )


class Paying:
    """A teacher whose adapter counts nothing itself: each of its images is paid once, without padding.

    Args:
        teacher: decides; stands where padding is no more seen, around `Batching`.
        sending: told the number of images before they are sent, e.g. `Allowance.send`.
    """

    def __init__(self, teacher: Teacher, sending: Callable[[int], None]) -> None:
        self._teacher, self._sending = teacher, sending

    @property
    def spec(self) -> TeacherSpec:
        return self._teacher.spec

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        self._sending(len(images))
        return self._teacher.decide(images)
