"""Answers from a journal as far as it goes, from the teacher beyond; and from a journal alone."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from db3.errors import BudgetSpent, DataError
from db3.teachers.adapters.outputs import PartlyAnsweredError
from db3.teachers.answers.journal import Journal
from db3.teachers.answers.recording import Recording
from db3.teachers.base import Teacher, TeacherSpec
from db3.teachers.budget import Allowance
from db3.teachers.checks import check_decisions
from db3.teachers.votes import Flips, Majority


def digest_images(images: Float[Tensor, "n c h w"], before: int = 0) -> int:
    """CRC-32 of the bytes of images asked, going on from the call before.

    It guards against mistakes, not against forgery, and is the fastest check of Python's own library (4.6 GB/s, SHA-256
    1.3): every image asked passes through it. Once two sequences of calls differ, every later digest differs too, but
    for one chance in 2^32 at each.
    """
    return zlib.crc32(images.contiguous().cpu().numpy().data, before)


class Tape:
    """The answers of a recording, call by call, to the very same images only."""

    def __init__(self, recording: Recording, path: Path) -> None:
        self._recording, self._path = recording, path
        self._tick = self._answer = 0
        self.digest = 0
        self.paid = 0
        self.flips = Flips()

    @property
    def left(self) -> int:
        """Answers not told yet."""
        return len(self._recording.answers) - self._answer

    def partly(self, count: int) -> tuple[Bool[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """Of the call after the last one told: which of its images were answered, and the answers (0 elsewhere)."""
        part, answers = self._recording.part, np.zeros(count, np.int64)
        if part is None or part.digest != self.digest or len(part.known) != count:
            return np.zeros(count, bool), answers
        answers[part.known] = part.answers
        return part.known, answers

    def told(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"] | None:
        """The answers to a call; None when the recording is at its end.

        Raises:
            DataError: the call recorded here was of other images.
        """
        tick, recording = self._tick, self._recording
        self.digest = digest_images(images, self.digest)
        if tick == len(recording.sizes):
            return None
        if len(images) != recording.sizes[tick] or self.digest != recording.digests[tick]:
            raise DataError(
                f"{self._path}, call {tick}: {recording.sizes[tick]} images were asked, of digest "
                f"{int(recording.digests[tick]):08x}; now it is {len(images)} of {self.digest:08x}: these are the "
                "answers to other queries (other samples, code or kind of machine); delete the file to ask anew"
            )
        answers = recording.answers[self._answer : self._answer + len(images)]
        paid, compared, changed = map(int, recording.votes[tick])
        self._tick, self._answer = tick + 1, self._answer + len(images)
        self.paid += paid
        self.flips.compared += compared
        self.flips.changed += changed
        return torch.from_numpy(answers.astype(np.int64)).to(images.device)


class Journalled:
    """A teacher whose every answer is written down, and asked for only once.

    Args:
        spec: of the teacher.
        ask: gives the teacher; called when the journal's answers are used up.
        journal: of this piece of work.
        allowance: what may be paid; a call that may not be paid whole is not begun. None: anything.

    Attributes:
        replayed: images that the journal answered, of a call that had failed half-way too.
        paid: images that had to be sent for the others, each vote of them.
        flips: how often a second vote differed from the first, of all answers.
        spent: the allowance has refused a call.

    Once a call has failed every later one fails likewise: its answers would stand in the wrong place.
    """

    def __init__(
        self, spec: TeacherSpec, ask: Callable[[], Teacher], journal: Journal, allowance: Allowance | None = None
    ) -> None:
        self._spec, self._ask, self._journal = spec, ask, journal
        self._allowance = allowance or Allowance()
        self._tape = Tape(journal.recording, journal.path)
        self._teacher: Teacher | None = None
        self.replayed = self.paid = 0
        self.flips = Flips()
        self._failed: Exception | None = None

    @property
    def spec(self) -> TeacherSpec:
        return self._spec

    @property
    def spent(self) -> bool:
        return isinstance(self._failed, BudgetSpent)

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        if not len(images):
            return torch.empty(0, dtype=torch.int64, device=images.device)
        if self._failed:
            raise self._failed
        try:
            return self._decide(images)
        except Exception as error:
            self._failed = error
            raise

    def _decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        told = self._tape.told(images)
        if told is not None:
            self.replayed += len(images)
            self.flips = self._tape.flips
            return told
        teacher = self._teacher = self._teacher or self._ask()
        known, decided = self._tape.partly(len(images))
        votes = teacher.votes if isinstance(teacher, Majority) else 1
        before = _votes(teacher)
        self._allowance.require(int((~known).sum()) * votes)
        answers = self._asked(teacher, images, known, decided)
        cast = (end - start for end, start in zip(_votes(teacher), before, strict=True))
        paid, compared, changed = cast if isinstance(teacher, Majority) else (len(images), 0, 0)
        self._journal.append(self._tape.digest, (paid, compared, changed), answers.cpu().numpy())
        self.replayed += int(known.sum())
        self.paid += paid - int(known.sum())
        self.flips = Flips(self.flips.compared + compared, self.flips.changed + changed)
        return answers

    def _asked(
        self,
        teacher: Teacher,
        images: Float[Tensor, "n c h w"],
        known: Bool[np.ndarray, " n"],
        decided: Int[np.ndarray, " n"],
    ) -> Int[Tensor, " n"]:
        """Ask about the images of a call that are not known; what is answered before a failure is kept."""
        missing = images if not known.any() else images[torch.from_numpy(~known).to(images.device)]
        try:
            answers = teacher.decide(missing)
        except PartlyAnsweredError as error:
            if not isinstance(teacher, Majority):  # a vote alone decides nothing
                self._keep(error, known, decided)
            raise error.cause from error
        check_decisions(answers, len(missing), self._spec)
        if not known.any():
            return answers
        decided[~known] = answers.cpu().numpy()
        return torch.from_numpy(decided).to(images.device)

    def _keep(self, error: PartlyAnsweredError, known: Bool[np.ndarray, " n"], decided: Int[np.ndarray, " n"]) -> None:
        told = error.known.numpy()
        check_decisions(error.decisions[error.known], int(told.sum()), self._spec)
        known, missing = known.copy(), np.flatnonzero(~known)
        known[missing[told]] = True
        decided[missing[told]] = error.decisions.numpy()[told]
        self._journal.keep(self._tape.digest, known, decided[known])


class Replaying:
    """A teacher that answers from a recording alone: what a search asked of it is proved, and nothing is asked.

    Args:
        spec: of the teacher that answered.
        recording: its header says whether the budget ended it (`spent`).
        path: for errors.
    """

    def __init__(self, spec: TeacherSpec, recording: Recording, path: Path) -> None:
        self._spec, self._recording, self._path = spec, recording, path
        self._tape = Tape(recording, path)

    @property
    def spec(self) -> TeacherSpec:
        return self._spec

    @property
    def left(self) -> int:
        """Answers that nobody has asked for yet."""
        return self._tape.left

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        if not len(images):
            return torch.empty(0, dtype=torch.int64, device=images.device)
        told = self._tape.told(images)
        if told is None and self._recording.header.get("spent"):
            raise BudgetSpent(f"{self._path} ends where the budget was spent")
        if told is None:
            raise DataError(
                f"{self._path} ends after {len(self._recording.answers)} answers, but the search asks for more: it is "
                "of other samples, parameters or code"
            )
        return told


def _votes(teacher: Teacher) -> tuple[int, int, int]:
    """Votes so far: images paid, compared, changed; zeros for a teacher that gives each image one."""
    if not isinstance(teacher, Majority):
        return 0, 0, 0
    return teacher.paid, teacher.flips.compared, teacher.flips.changed
