"""A teacher that changes its mind: another class now and then, drawn afresh at every call."""

import torch
from torch import Tensor

from db3.teachers.base import Teacher, TeacherSpec


class Unsteady:
    """Answers with a random other class in a share `rate` of all answers."""

    def __init__(self, teacher: Teacher, rate: float, seed: int = 0) -> None:
        self._teacher, self._rate = teacher, rate
        self._draw = torch.Generator().manual_seed(seed)

    @property
    def spec(self) -> TeacherSpec:
        return self._teacher.spec

    def decide(self, images: Tensor) -> Tensor:
        answers, classes = self._teacher.decide(images), self.spec.classes
        other = (answers + torch.randint(1, classes, answers.shape, generator=self._draw)) % classes
        return torch.where(torch.rand(len(images), generator=self._draw) < self._rate, other, answers)
