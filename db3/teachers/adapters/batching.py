"""Batching: any number of images in, one fixed call shape out."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.settings.teacher import Link
from db3.teachers.adapters.retries import retry
from db3.teachers.base import Answered, Sending, Teacher
from db3.teachers.checks import checked_decisions


class Batching:
    """Send every image in a call of exactly `spec.max_batch` rows, the last call padded.

    A network's convolution may pick another algorithm for another batch size, and its logits then differ in the last
    bits; with one shape an image's answer is the same wherever it stands and whatever its neighbours are. The padding
    repeats the call's first image (always a legal input) and its answers are dropped.

    Args:
        teacher: takes at most `spec.max_batch` images a call.
        pad: false for a teacher that charges for every image: then the last call is short.
        sending: called before each call with its images, without padding; it may raise to forbid it.
        answered: called after each call, before the next one. Where nobody listens, what came back before a call
            failed is kept here until the same images are asked again, or others.
        link: how often a call is made again that failed and may pass (`RetryableError`).
    """

    def __init__(
        self,
        teacher: Teacher,
        pad: bool = True,
        sending: Sending | None = None,
        answered: Answered | None = None,
        link: Link | None = None,
    ) -> None:
        self._teacher, self._pad, self.spec = teacher, pad, teacher.spec
        self._sending, self._answered, self._link = sending, answered, link or Link()
        self._kept: tuple[Tensor, Tensor] | None = None

    def announcing(self, sending: Sending) -> "Batching":
        """The same, with every attempt announced to `sending` too."""

        def announce(count: int) -> None:
            sending(count)
            if self._sending:
                self._sending(count)

        return Batching(self._teacher, self._pad, announce, self._answered, link=self._link)

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        answers = self._known(images)
        size, known = self.spec.max_batch, sum(map(len, answers))
        try:
            for place in range(known, len(images), size):
                answers.append(self._call(images[place : place + size]))
                if self._answered:
                    self._answered(place, answers[-1])
        except BaseException:
            if answers and not self._answered:
                told = torch.cat(answers)
                self._kept = images[: len(told)].clone(), told
            raise
        if len(answers) == 1:
            return answers[0]
        return torch.cat(answers) if answers else torch.empty(0, dtype=torch.int64, device=images.device)

    def _known(self, images: Float[Tensor, "n c h w"]) -> list[Int[Tensor, " _"]]:
        """What came back to the first of these images before the last ask failed."""
        kept, self._kept = self._kept, None
        if kept is None or kept[0].device != images.device or not torch.equal(kept[0], images[: len(kept[0])]):
            return []
        return [kept[1]]

    def _call(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        count, missing = images.shape[0], self.spec.max_batch - images.shape[0] if self._pad else 0
        if missing:
            images = torch.cat([images, images[:1].expand(missing, *images.shape[1:])])

        def attempt() -> Any:
            if self._sending:
                self._sending(count)
            return self._teacher.decide(images)

        answers = checked_decisions(retry(attempt, self._link), count + missing, self.spec).to(images.device)
        return answers[:count] if missing else answers
