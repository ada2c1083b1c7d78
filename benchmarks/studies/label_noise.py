"""What does a teacher cost that gives a wrong answer to 1, 5 or 10 % of all images?

The wrong answer is a function of the image: asked again, it is the same, so votes cannot mend it. Samples, searches and
augmented images are all asked of this teacher; agreement is with the same teacher without its noise.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from benchmarks.studies import pictures
from benchmarks.studies.shared import Row, Setting, Study, local_problem, scored, search, trained, variants
from db3.digest import digest_bytes
from db3.pixels import to_bytes
from db3.teachers.base import Teacher

KINDS = ("hard", "margin", "student", "augmented")
SHARES = (0.0, 0.01, 0.05, 0.1)
_WORD = 8  # hexadecimal digits of a digest that make a number


class Flipping:
    """A teacher that answers a share of all images with another class, each of the others alike.

    Which images and which class is decided by the image's stored bytes: the same on every call and every machine, and
    what is flipped at a small share is flipped at a larger one.
    """

    def __init__(self, teacher: Teacher, share: float) -> None:
        self._teacher, self._share, self.spec = teacher, share, teacher.spec

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        decisions = self._teacher.decide(images)
        stored = to_bytes(images, self.spec.bounds).cpu().numpy()
        steps = torch.tensor([self._step(image.tobytes()) for image in stored], dtype=torch.int64)
        return (decisions + steps.to(decisions.device)) % self.spec.classes

    def _step(self, image: bytes) -> int:
        """Classes to go on from the true decision; 0: it stands."""
        told = digest_bytes(image)
        drawn, other = int(told[:_WORD], 16) / 16**_WORD, int(told[_WORD : 2 * _WORD], 16)
        return 1 + other % (self.spec.classes - 1) if drawn < self._share else 0


def run(setting: Setting) -> Iterator[Row]:
    problem, kinds = local_problem(setting), setting.chosen(KINDS)
    for share in SHARES:
        noisy = problem.of(Flipping(problem.teacher, share))
        for student in trained(problem, variants(search(noisy, kinds), kinds)):
            yield {"flipped": share, **scored(problem, student)}


def draw(figure: Any, rows: list[Row]) -> None:
    axes = figure.subplots()
    for kind in dict.fromkeys(row["kind"] for row in rows):
        shown = [{**row, "flipped": 100 * row["flipped"]} for row in rows if row["kind"] == kind]
        pictures.line(axes, shown, "flipped", "accuracy", kind)
    pictures.finish(axes, xlabel="answers flipped by the teacher, %", ylabel="test accuracy, %")


STUDY = Study(
    "What does a teacher cost that gives a wrong answer to 1, 5 or 10 % of all images?",
    ("flipped", "kind"),
    ("accuracy", "agreement"),
    run,
    draw,
)
