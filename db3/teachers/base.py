"""The contract of a teacher: images in, decisions out, and nothing else.

Rules that every adapter keeps and `tests/contracts/teacher.py` checks:

* `decide` takes float32 images of shape [n, C, H, W] inside `spec.bounds`, 1 ≤ n ≤ `spec.max_batch`, and returns one
  int64 class in 0 … K−1 per image, in the order of the images.
* No method returns scores. An adapter whose model has them takes the argmax inside (the lowest class on a tie).
* An answer depends on its image alone, given the shape of the call. Real networks' floats may change in the last bits
  with the *shape* of a call, so callers go through `Batching`, which always sends the one padded shape that
  `max_batch` names; that shape is part of `identity`.
* `decide` is called from one thread at a time per instance.
* Every call may cost money: nothing is asked twice to find something out.

A teacher is a stack of four layers, each of which keeps these rules:

    adapter (db3.teachers.adapters)   how a model is asked; batching and call shape belong to it
    answers (db3.teachers.answers)    what is known already: every single answer, kept by content
    votes   (db3.teachers.votes)      how an unsteady model is settled, by the answers known and sent
    budget  (db3.teachers.budget)     what may still be sent, what was asked

One record, `db3.teachers.budget.Costs`, is handed to all of them; nobody asks a layer what it is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from db3.errors import TeacherError

ImageShape = tuple[int, int, int]
Sending = Callable[[int], None]
"""Called by an adapter with the number of images before every attempt to send them; what it raises forbids it. Called
again with the negative number where the attempt reached nobody: then they were not sent."""
Answered = Callable[[int, Int[Tensor, " _"]], None]
"""Called by an adapter with each answered part of a `decide`, as soon as it is there: the place of its first image in
that call, and its decisions. So what was answered before a failure is not lost."""
Counted = Callable[[str, int], None]
"""Called by an adapter with what else it counts, by the name that `db3.teachers.budget.Costs` has for it, and how many
more."""


def ignored(name: str, count: int) -> None:
    """Where nobody counts."""


@dataclass(frozen=True)
class TeacherSpec:
    """What may be known of a teacher without asking it.

    Attributes:
        input_shape: (C, H, W) of one image.
        bounds: smallest and largest pixel value, e.g. (0.0, 1.0).
        classes: K, the number of classes.
        max_batch: rows of the one call shape that answers are defined for.
        identity: digest of everything that decides an answer (weights, architecture, call shape).
        levels: distinct pixel values that the teacher can be shown, 256 for uint8; 0: any float32.

    Raises:
        TeacherError: a shape, bounds or a number that no teacher can have.
    """

    input_shape: ImageShape
    bounds: tuple[float, float]
    classes: int
    max_batch: int
    identity: str
    levels: int = 0

    def __post_init__(self) -> None:
        low, high = self.bounds
        if min(self.input_shape) < 1 or self.classes < 1 or self.max_batch < 1:
            raise TeacherError(
                f"a teacher of input shape {list(self.input_shape)}, {self.classes} classes and {self.max_batch} "
                "images a call; expected 1 or more of each: correct its description"
            )
        if not -math.inf < low < high < math.inf:
            raise TeacherError(
                f"a teacher whose pixels span [{low:g}, {high:g}]; expected finite bounds, the smaller one first"
            )

    def __str__(self) -> str:
        shape = "x".join(map(str, self.input_shape))
        return f"{self.classes} classes, {shape} in [{self.bounds[0]:g}, {self.bounds[1]:g}], {self.identity[:12]}"


@runtime_checkable
class Announcing(Protocol):
    """A teacher that can announce what it sends (`db3.teachers.adapters.batching.Batching`)."""

    def announcing(self, sending: Sending) -> "Teacher":
        """The same teacher, with every attempt announced to `sending`."""
        ...


@runtime_checkable
class Teacher(Protocol):
    """A classifier seen only through its decision."""

    @property
    def spec(self) -> TeacherSpec: ...

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """Top-1 class of each image."""
        ...
