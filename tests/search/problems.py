"""Small search problems with known answers, shared by the tests of the decisions engine."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from db3.search import TransferImages
from db3.search.driver import drive
from db3.search.ledger import Asks, Pairs
from db3.teachers.base import ImageShape, Teacher, TeacherSpec
from db3.testing.analytic import Analytic, Box, Brightest, HalfSpace, Shells

SMALL, GREY, COLOUR = (1, 3, 3), (1, 8, 8), (3, 16, 16)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Uniform numbers in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def half_space(shape: ImageShape = GREY) -> HalfSpace:
    """Through the middle grey, tilted."""
    normal = drawn(*shape, seed=1) + 0.2
    return HalfSpace(normal, float(normal.double().sum()) / 2)


def brightest(shape: ImageShape = GREY, classes: int = 4) -> Brightest:
    """As many areas as classes, in stripes of pixels."""
    count = int(np.prod(shape))
    return Brightest((torch.arange(count) * classes // count).view(shape))


def sphere(shape: ImageShape = GREY) -> Shells:
    """Around the middle grey, its radius the mean distance of uniform pixels."""
    return Shells(torch.full(shape, 0.5), (float(np.sqrt(np.prod(shape) / 12)),))


def shells(shape: ImageShape = GREY) -> Shells:
    mean = float(np.sqrt(np.prod(shape) / 12))
    return Shells(torch.full(shape, 0.5), (0.6 * mean, mean, 1.3 * mean))


def box(shape: ImageShape = GREY) -> Box:
    return Box(torch.full(shape, 0.2), torch.full(shape, 0.8))


TEACHERS: dict[str, Callable[[], Analytic]] = {
    "half-space": half_space,
    "sphere": sphere,
    "box": box,
    "shells": shells,
    "brightest": brightest,
}


def pool(teacher: Teacher, count: int, seed: int = 0) -> TransferImages:
    """Images of many brightnesses and contrasts with the teacher's decisions."""
    pixels = drawn(count, *teacher.spec.input_shape, seed=seed)
    contrast, level = drawn(2, count, 1, 1, 1, seed=seed + 1)
    pixels = (level + (pixels - 0.5) * (0.1 + 1.4 * contrast)).clamp(0, 1)
    images = (pixels * 255).round().to(torch.uint8)
    return TransferImages(images.numpy(), teacher.decide(images.float() / 255).numpy())


def truth(teacher: Analytic, pool: TransferImages) -> np.ndarray:  # type: ignore[type-arg]
    """The exact distances of all samples to all classes, float64 [n, K]."""
    images = torch.from_numpy(pool.images).float() / 255
    return torch.stack([teacher.distance(images, k) for k in range(teacher.spec.classes)], dim=1).numpy()


def block(images: Tensor, target: int | Tensor = 1, samples: Tensor | None = None) -> Pairs:
    """One pair for each image, towards `target`."""
    count = len(images)
    targets = target if isinstance(target, Tensor) else torch.full((count,), target)
    return Pairs(
        images=images.flatten(1),
        decisions=torch.zeros(count, dtype=torch.int64),
        targets=targets,
        samples=torch.arange(count) if samples is None else samples,
        shape=tuple(images.shape[1:]),
    )


def run(teacher: Teacher, *asks: Asks) -> list[Tensor]:
    """Drive searches to their end."""
    return drive(iter(asks), teacher)


class Recording:
    """A teacher that remembers what it was asked."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher
        self.calls: list[Tensor] = []

    @property
    def spec(self) -> TeacherSpec:
        return self._teacher.spec

    @property
    def asked(self) -> int:
        return sum(map(len, self.calls))

    def decide(self, images: Tensor) -> Tensor:
        self.calls.append(images.clone())
        return self._teacher.decide(images)


class Constant:
    """A teacher that answers one class to everything."""

    def __init__(self, answer: int, shape: ImageShape = GREY, classes: int = 3) -> None:
        self._answer = answer
        self.spec = TeacherSpec(shape, (0.0, 1.0), classes, 16, f"always {answer}")

    def decide(self, images: Tensor) -> Tensor:
        return torch.full((len(images),), self._answer)
