"""Meter: check what goes to the teacher and what comes back, and count every image asked."""

import threading

from jaxtyping import Float, Int
from torch import Tensor

from db3.teachers.answers.journalled import Journalled
from db3.teachers.base import Teacher, TeacherSpec
from db3.teachers.checks import check_decisions, check_images
from db3.teachers.votes import Flips, Majority

__all__ = ["Meter", "check_decisions", "check_images"]


class Meter:
    """The outermost wrapper: validates images and decisions and counts queries.

    Attributes:
        asked: images that an algorithm wanted decided, one by one (padding is not counted: it asks nothing new).
        replayed: those of them that a journal answered.
        paid: images that had to be sent for the others: more of them where each gets several votes.
        flips: how often a second vote differed from the first.
    """

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher
        self._lock = threading.Lock()
        self.asked = 0

    @property
    def teacher(self) -> Teacher:
        """What is metered here: to be metered anew within one more wrapper, such as a journal."""
        return self._teacher

    @property
    def spec(self) -> TeacherSpec:
        return self._teacher.spec

    @property
    def replayed(self) -> int:
        return self._teacher.replayed if isinstance(self._teacher, Journalled) else 0

    @property
    def paid(self) -> int:
        return self._teacher.paid if isinstance(self._teacher, Journalled | Majority) else self.asked

    @property
    def flips(self) -> Flips:
        return self._teacher.flips if isinstance(self._teacher, Journalled | Majority) else Flips()

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        check_images(images, self.spec)
        answers = self._teacher.decide(images)
        check_decisions(answers, len(images), self.spec)
        with self._lock:
            self.asked += len(images)
        return answers
