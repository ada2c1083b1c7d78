"""Batching: any number of images in, one fixed call shape out."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.errors import TeacherError
from db3.teachers.base import Answered, Sending, Teacher


class Batching:
    """Send every image in a call of exactly `spec.max_batch` rows, the last call padded.

    A network's convolution may pick another algorithm for another batch size, and its logits then differ in the last
    bits; with one shape an image's answer is the same wherever it stands and whatever its neighbours are. The padding
    repeats the call's first image (always a legal input) and its answers are dropped.

    Args:
        teacher: takes at most `spec.max_batch` images a call.
        pad: false for a teacher that charges for every image: then the last call is short.
        sending: called before each call with its images, without padding; it may raise to forbid it.
        answered: called after each call, before the next one.
    """

    def __init__(
        self, teacher: Teacher, pad: bool = True, sending: Sending | None = None, answered: Answered | None = None
    ) -> None:
        self._teacher, self._pad, self.spec = teacher, pad, teacher.spec
        self._sending, self._answered = sending, answered

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        size = self.spec.max_batch
        answers = []
        for place, part in enumerate(torch.split(images, size) if images.shape[0] else ()):
            answers.append(self._call(part))
            if self._answered:
                self._answered(place * size, answers[-1])
        if len(answers) == 1:
            return answers[0]
        return torch.cat(answers) if answers else torch.empty(0, dtype=torch.int64, device=images.device)

    def _call(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        count, missing = images.shape[0], self.spec.max_batch - images.shape[0] if self._pad else 0
        if self._sending:
            self._sending(count)
        if missing:
            images = torch.cat([images, images[:1].expand(missing, *images.shape[1:])])
        answers = self._teacher.decide(images)
        if answers.shape != (count + missing,):
            raise TeacherError(
                f"the teacher gave answers of shape {list(answers.shape)} to {count + missing} images; "
                "expected one class per image: check the adapter's output"
            )
        return answers[:count] if missing else answers
