"""Answers known by the order they were asked in: read from a journal, to the very same images only."""

import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from db3.errors import BudgetSpent, DataError
from db3.teachers.answers.answers import Known
from db3.teachers.answers.journal import Journal
from db3.teachers.answers.recording import Recording
from db3.teachers.base import TeacherSpec


def digest_images(images: Float[Tensor, "n c h w"], before: int = 0) -> int:
    """CRC-32 of the bytes of images asked, going on from the call before.

    It guards against mistakes, not against forgery, and is the fastest check of Python's own library (4.6 GB/s, SHA-256
    1.3): every image asked passes through it. Once two sequences of calls differ, every later digest differs too, but
    for one chance in 2^32 at each.
    """
    return zlib.crc32(images.contiguous().cpu().numpy().data, before)


class Reader:
    """The answers of a recording, call by call.

    Attributes:
        digest: of all images looked for so far.
        left: answers not told yet.
    """

    def __init__(self, recording: Recording, path: Path) -> None:
        self._recording, self._path = recording, path
        self._call = self.digest = 0
        self.left = len(recording.answers)

    def find(self, images: Float[Tensor, "n c h w"]) -> Known:
        """What is known of the next call: all of it, or a part where it failed half-way, or nothing at the end.

        Raises:
            DataError: the call recorded here was of other images.
        """
        call, recording, count = self._call, self._recording, len(images)
        self.digest = digest_images(images, self.digest)
        if call == len(recording.sizes):
            return self._part(count)
        if count != recording.sizes[call] or self.digest != recording.digests[call]:
            raise DataError(
                f"{self._path}, call {call}: {recording.sizes[call]} images were asked, of digest "
                f"{int(recording.digests[call]):08x}; now it is {count} of {self.digest:08x}: these are the "
                "answers to other queries (other samples, code or kind of machine); delete the file to ask anew"
            )
        start = len(recording.answers) - self.left
        votes, compared, changed = map(int, recording.votes[call])
        self._call, self.left = call + 1, self.left - count
        answers = recording.answers[start : start + count].astype(np.int64)
        return Known(np.ones(count, bool), answers, (votes, compared, changed))

    def _part(self, count: int) -> Known:
        part, known, answers = self._recording.part, np.zeros(count, bool), np.zeros(count, np.int64)
        if part is not None and part.digest == self.digest and len(part.known) == count:
            known, answers[part.known] = part.known, part.answers
        return Known(known, answers, (int(known.sum()), 0, 0))


class JournalStore:
    """An open journal as a store of answers (`db3.teachers.answers.answers.Store`)."""

    def __init__(self, journal: Journal) -> None:
        self._journal, self._reader = journal, Reader(journal.recording, journal.path)

    def find(self, images: Float[Tensor, "n c h w"]) -> Known:
        return self._reader.find(images)

    def add(self, decisions: Int[np.ndarray, " n"], votes: tuple[int, int, int]) -> None:
        self._journal.append(self._reader.digest, votes, decisions)

    def add_part(self, known: Bool[np.ndarray, " n"], decisions: Int[np.ndarray, " n"]) -> None:
        self._journal.keep(self._reader.digest, known, decisions[known])


class RecordedTeacher:
    """A teacher that answers from a recording alone: what a search asked of it is proved, and nothing is asked.

    Args:
        spec: of the teacher that answered.
        recording: its header says whether the budget ended it (`spent`).
        path: for errors.
    """

    def __init__(self, spec: TeacherSpec, recording: Recording, path: Path) -> None:
        self.spec, self._recording, self._path = spec, recording, path
        self._reader = Reader(recording, path)

    @property
    def left(self) -> int:
        """Answers that nobody has asked for yet."""
        return self._reader.left

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        if not len(images):
            return torch.empty(0, dtype=torch.int64, device=images.device)
        found = self._reader.find(images)
        if found.known.all():
            return torch.from_numpy(found.decisions).to(images.device)
        if self._recording.header.get("spent"):
            raise BudgetSpent(f"{self._path} ends where the budget was spent")
        raise DataError(
            f"{self._path} ends after {len(self._recording.answers)} answers, but the search asks for more: it is "
            "of other samples, parameters or code"
        )
