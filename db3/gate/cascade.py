"""A cascade: the student answers what it is sure of, and the teacher is asked for the rest."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64, UInt8
from torch import Tensor, nn

from db3.errors import DataError
from db3.gate.audit import Audit
from db3.gate.gate import Gate
from db3.gate.scores import Scoring, student_probabilities, sureness
from db3.gate.watch import Watch
from db3.pixels import to_bytes, to_floats
from db3.teachers.base import Teacher


@dataclass(frozen=True)
class Bill:
    """What a cascade cost, beside what the teacher alone would have.

    Attributes:
        images: decided.
        deferred: of them, sent to the teacher.
        cost: of these, in the unit of the price.
        teacher_alone: of all images.
    """

    images: int
    deferred: int
    cost: float
    teacher_alone: float

    def __str__(self) -> str:
        return (
            f"{self.deferred:,} of {self.images:,} images asked of the teacher: {self.cost:,.2f} instead of "
            f"{self.teacher_alone:,.2f}"
        )


class Cascade:
    """Student and teacher behind one `decide`; itself a teacher (`db3.Teacher`).

    One thread at a time, as for every teacher. The student sees uint8 pixels, as it learnt from them: floats are
    rounded to the nearest of 256 levels for it. The teacher sees the floats as they are.

    Args:
        student: what has `scores(images)`, or a network of logits (`db3.gate.scores`).
        teacher: asked for what the gate does not let through, `spec.max_batch` images at a time at most.
        gate: chosen from images that are exchangeable with those to come.
        watch: sees every score; None: they are not watched. Once an alarm is raised, the watch's or the audit's, the
            gate's promise no longer holds, and every image is asked of the teacher until there is a new gate.
        audit: draws answered images that the teacher is asked about too, and decides; None: none are.

    Attributes:
        answered: images that the student decided.
        deferred: images that the teacher decided, those audited included.
    """

    def __init__(
        self,
        student: Scoring | nn.Module,
        teacher: Teacher,
        gate: Gate,
        watch: Watch | None = None,
        audit: Audit | None = None,
    ) -> None:
        self._student, self._teacher, self.gate, self.watch, self.audit = student, teacher, gate, watch, audit
        self.spec = teacher.spec
        self.answered = self.deferred = 0

    def decide(
        self, images: UInt8[np.ndarray, "n c h w"] | UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"]
    ) -> Int64[np.ndarray, " n"] | Int[Tensor, " n"]:
        """The class of each image: an array for an array, a tensor for a tensor.

        Args:
            images: uint8, or float32 in `spec.bounds`.

        Raises:
            DataError: images of another shape than the teacher's, or a student that gives no probabilities; nothing
                was sent.
            Db3Error: what the teacher raises; nothing of this call is counted then, but by the watch.
        """
        decisions, kept = self._student_decisions(images)
        audited = self._audited(kept)
        left = np.flatnonzero(~kept | audited)
        if len(left):
            asked = self._ask(images[left] if isinstance(images, np.ndarray) else images[torch.from_numpy(left)])
            if self.audit is not None:
                again = audited[left]
                self.audit.see(asked[again] == decisions[left][again])
            decisions[left] = asked
        self.deferred += len(left)
        self.answered += len(kept) - len(left)
        return decisions if isinstance(images, np.ndarray) else torch.from_numpy(decisions).to(images.device)

    def bill(self, price_per_1000: int | float) -> Bill:
        """What the images decided so far cost, at a price for a thousand images asked of the teacher."""
        images = self.answered + self.deferred
        return Bill(images, self.deferred, self.deferred * price_per_1000 / 1000, images * price_per_1000 / 1000)

    def __repr__(self) -> str:
        return f"Cascade({self.answered:,} answered, {self.deferred:,} deferred; {self.gate})"

    def _student_decisions(
        self, images: UInt8[np.ndarray, "n c h w"] | UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"]
    ) -> tuple[Int64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        """Its decisions, and which of them stand."""
        if tuple(images.shape[1:]) != tuple(self.spec.input_shape):
            raise DataError(
                f"images of shape {list(images.shape[1:])}; expected {list(self.spec.input_shape)}, as the teacher "
                "takes them: resize them first"
            )
        scores, decisions = sureness(student_probabilities(self._student, self._stored(images)))
        kept = self.gate.answers(scores)
        if self.watch is not None:
            self.watch.see(scores)
        if any(guard is not None and guard.alarm for guard in (self.watch, self.audit)):
            kept = np.zeros_like(kept)
        return decisions, kept

    def _audited(self, kept: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Which of the kept decisions are to be held against the teacher's."""
        drawn = np.zeros_like(kept)
        if self.audit is not None:
            drawn[kept] = self.audit.draw(int(kept.sum()))
        return drawn

    def _stored(
        self, images: UInt8[np.ndarray, "n c h w"] | UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"]
    ) -> UInt8[np.ndarray, "n c h w"]:
        if isinstance(images, np.ndarray):
            return images
        levels = images if images.dtype == torch.uint8 else to_bytes(images, self.spec.bounds)
        stored: UInt8[np.ndarray, "n c h w"] = levels.cpu().numpy()
        return stored

    def _ask(
        self, images: UInt8[np.ndarray, "n c h w"] | UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"]
    ) -> Int64[np.ndarray, " n"]:
        floats = (
            images if isinstance(images, Tensor) and images.is_floating_point() else to_floats(images, self.spec.bounds)
        )
        parts = [self._teacher.decide(part) for part in torch.split(floats, self.spec.max_batch)]
        asked: Int64[np.ndarray, " n"] = torch.cat(parts).cpu().numpy()
        return asked
