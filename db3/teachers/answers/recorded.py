"""The answers of one piece of work in the order asked: recorded, and read again to the very same images only."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.errors import BudgetSpent, DataError
from db3.teachers.answers.recording import Recording, width
from db3.teachers.base import Teacher, TeacherSpec
from db3.teachers.budget import Costs


def digest_call(images: Float[Tensor, "n c h w"], before: int = 0) -> int:
    """CRC-32 of the bytes of images asked, going on from the call before.

    It guards against mistakes, not against forgery, and is the fastest check of Python's own library (4.6 GB/s, SHA-256
    1.3): every image asked passes through it. Once two sequences of calls differ, every later digest differs too, but
    for one chance in 2^32 at each.
    """
    return zlib.crc32(images.contiguous().cpu().numpy().data, before)


class Recorder:
    """A teacher whose every answered call is recorded, wherever the answers come from.

    Once a call has failed every later one fails likewise: the sequence ends there.

    Args:
        teacher: the layers below.
        costs: the stack's record: how many votes a call took.
    """

    def __init__(self, teacher: Teacher, costs: Costs) -> None:
        self.spec = teacher.spec
        self._teacher, self._costs = teacher, costs
        self._calls: list[tuple[int, ...]] = []
        self._answers: list[bytes] = []
        self._digest = 0
        self._failed: Exception | None = None

    @property
    def spent(self) -> bool:
        """Whether the budget has refused a call."""
        return isinstance(self._failed, BudgetSpent)

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        if not len(images):
            return torch.empty(0, dtype=torch.int64, device=images.device)
        if self._failed:
            raise self._failed
        before = self._votes()
        try:
            decisions = self._teacher.decide(images)
        except Exception as error:
            self._failed = error
            raise
        self._digest = digest_call(images, self._digest)
        votes = (now - then for now, then in zip(self._votes(), before, strict=True))
        self._calls.append((len(images), self._digest, *votes))
        self._answers.append(decisions.cpu().numpy().astype(width(self.spec.classes)).tobytes())
        return decisions

    def recording(self, header: dict[str, Any]) -> Recording:
        """All calls so far; what was known before, and how often a run died, changes nothing of it."""
        calls = np.array(self._calls, np.uint32).reshape(-1, 5)
        answers = np.frombuffer(b"".join(self._answers), width(self.spec.classes))
        return Recording(header, calls[:, 0], calls[:, 1], calls[:, 2:], answers, int(calls[:, 2].sum(dtype=np.int64)))

    def _votes(self) -> tuple[int, int, int]:
        return self._costs.votes, self._costs.compared, self._costs.changed


class OtherQueriesError(DataError):
    """The images asked now are not those that the recorded answers are to."""


class RecordedTeacher:
    """A teacher that answers from a recording alone: what a search asked of it is proved, and nothing is asked.

    Args:
        spec: of the teacher that answered.
        recording: its header says whether the budget ended it (`spent`).
        path: for errors.
        costs: the stack's record, to which each call adds the votes that it took; None: nobody counts.

    Attributes:
        left: answers that nobody has asked for yet.
    """

    def __init__(self, spec: TeacherSpec, recording: Recording, path: Path, costs: Costs | None = None) -> None:
        self.spec, self._recording, self._path, self._costs = spec, recording, path, costs
        self._call = self._digest = 0
        self.left = len(recording.answers)

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """Top-1 class of each image.

        Raises:
            BudgetSpent: the recording ends here, since the budget did.
            OtherQueriesError: it ends here for another reason, or the call recorded was of other images.
        """
        if not len(images):
            return torch.empty(0, dtype=torch.int64, device=images.device)
        call, recording, count = self._call, self._recording, len(images)
        self._digest = digest_call(images, self._digest)
        if call == len(recording.sizes):
            if recording.header.get("spent"):
                raise BudgetSpent(f"{self._path} ends where the budget was spent")
            raise OtherQueriesError(
                f"{self._path} ends after {len(recording.answers)} answers, but the search asks for more: it is of "
                "other samples, parameters or code"
            )
        if count != recording.sizes[call] or self._digest != recording.digests[call]:
            raise OtherQueriesError(
                f"{self._path}, call {call}: {recording.sizes[call]} images were asked, of digest "
                f"{int(recording.digests[call]):08x}; now it is {count} of {self._digest:08x}: these are the "
                "answers to other queries: of other samples, parameters or code; take those that they were sealed with"
            )
        start = len(recording.answers) - self.left
        self._call, self.left = call + 1, self.left - count
        if self._costs:
            votes, compared, changed = map(int, recording.votes[call])
            self._costs.add(known=count, votes=votes, compared=compared, changed=changed)
        return torch.from_numpy(recording.answers[start : start + count].astype(np.int64)).to(images.device)
