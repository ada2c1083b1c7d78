"""Answers: what is known already is answered from the store, the rest sent and kept before it is told."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.errors import BudgetSpent
from db3.teachers.answers.claims import LEASE, name_owner
from db3.teachers.answers.digests import digest_images
from db3.teachers.answers.recording import width
from db3.teachers.answers.store import Account, AnswerStore
from db3.teachers.base import Teacher
from db3.teachers.budget import Costs
from db3.teachers.checks import checked_decisions


class Answers:
    """The single answers of a teacher, each of which is sent for once and kept (`db3.teachers.votes.Ballots`).

    The adapter has to announce what it sends to `sending`, and should tell `answered` what comes back. Both may be
    called from another thread than the one that waits in `decide`.

    Args:
        teacher: the adapter; asked when something is not known.
        store: where the answers are kept.
        account: whose they are, and where what is sent is booked.
        costs: the stack's record; its `before` is set to what the account has sent already.
    """

    def __init__(self, teacher: Teacher, store: AnswerStore, account: Account, costs: Costs) -> None:
        self.spec = teacher.spec
        self._teacher, self._store, self._account, self._costs = teacher, store, account, costs
        self._type = width(account.classes)
        self._guard = threading.Lock()
        self._calling: list[bytes] = []
        self._waiting: dict[bytes, bytes] = {}
        self._votes: dict[bytes, bytes] = {}
        self._received, self._owner, self._heard = 0, name_owner(), 0.0
        costs.before = store.balance(account)[0]

    def look_up(self, images: Float[Tensor, "n c h w"]) -> "Known":
        """What is known of the images of a call, all looked up at once."""
        keys = digest_images(images, self.spec)
        return Known(self, images, keys, self._store.find(self._account, set(keys)), self._type)

    def sending(self, count: int) -> None:
        """Book `count` images as sent.

        Raises:
            BudgetSpent: the account may not send so many.
        """
        with self._guard:
            self._costs.send(count)
            try:
                self._commit(count)
            except BaseException:
                self._costs.send(-count)
                raise

    def answered(self, place: int, decisions: Int[Tensor, " _"]) -> None:
        """Keep what came back: decisions on the images from `place` on of the call under way."""
        told = checked_decisions(decisions, len(decisions), self.spec).cpu().numpy().astype(self._type)
        with self._guard:
            for key, vote in zip(self._calling[place : place + len(told)], told, strict=True):
                self._waiting[key] = vote.tobytes()
            self._received += len(told)
            self._costs.add(answered=len(told))
            self._commit(0)
            if time.monotonic() > self._heard + LEASE / 4:
                self._store.prolong(self._account, self._owner)
                self._heard = time.monotonic()

    def claim(self, keys: Sequence[bytes], found: dict[bytes, bytes]) -> list[bytes]:
        """Those of the images that have to be sent from here, one at least, in their order.

        Others are asking about the rest; answers that have come meanwhile are added to `found`, and where there are
        any, the list may be empty. Without either it waits.
        """
        pause = 0.002
        while True:
            known = {key: len(found.get(key, b"")) for key in keys}
            mine, more = self._store.claim(self._account, self._owner, known)
            found |= more
            self._heard = time.monotonic()
            if mine or more:
                return [key for key in keys if key in mine]
            time.sleep(pause)
            pause = min(2 * pause, 0.25)

    def send(self, keys: list[bytes], images: Float[Tensor, "n c h w"]) -> dict[bytes, bytes]:
        """One more answer to each of the images, which were claimed; all answers to them.

        What came before a failure is kept.
        """
        self._calling, self._votes, self._received = keys, {}, 0
        try:
            decisions = checked_decisions(self._teacher.decide(images), len(keys), self.spec)
            if not self._received:  # an adapter that tells nothing while it works
                self.answered(0, decisions)
        finally:
            with self._guard:
                self._commit(0)
            self._store.release(self._account, self._owner)
        return self._votes

    def _commit(self, sent: int) -> None:
        """Called with the guard held."""
        if not sent and not self._waiting:
            return
        try:
            self._votes |= self._store.commit(self._account, self._waiting, sent, self._costs.limit)
        except BudgetSpent:  # of what comes next: what came back is kept
            self._waiting = {}
            raise
        self._waiting = {}


class Known:
    """What is known of the images of one call (`db3.teachers.votes.Ballot`); equal images are one."""

    def __init__(
        self,
        answers: Answers,
        images: Float[Tensor, "n c h w"],
        keys: list[bytes],
        found: dict[bytes, bytes],
        kind: np.dtype[Any],
    ) -> None:
        self._answers, self._images, self._type = answers, images, kind
        self._places: dict[bytes, int] = {}
        for place, key in enumerate(keys):
            self._places.setdefault(key, place)
        self._keys, self._found, self._sent = keys, found, set[bytes]()
        self.known = np.array([len(found.get(key, b"")) for key in keys], np.int64) // kind.itemsize

    @property
    def asked(self) -> int:
        """Images of the call that something was sent for."""
        return len(self._sent)

    def missing(self, votes: Int[np.ndarray, " n"]) -> int:
        """Images that have to be sent until there are `votes[i]` answers to image i; equal ones count once."""
        places = list(self._places.values())
        return int((votes[places] - self.known[places]).clip(0).sum())

    def cast(self, rows: Int[np.ndarray, " r"], votes: Int[np.ndarray, " r"]) -> Int[np.ndarray, " r"]:
        """Answer number `votes[i]` to image `rows[i]`; what is not known is sent."""
        wanted = [(self._keys[row], int(vote)) for row, vote in zip(rows, votes, strict=True)]
        size, found = self._type.itemsize, self._found
        while missing := sorted(
            {key for key, vote in wanted if len(found.get(key, b"")) <= vote * size}, key=self._places.__getitem__
        ):
            if not (mine := self._answers.claim(missing, found)):
                continue
            self._sent |= set(mine)
            places = torch.tensor([self._places[key] for key in mine], device=self._images.device)
            every = len(mine) == len(self._images)
            found |= self._answers.send(mine, self._images if every else self._images[places])
        if size == 1:
            return np.array([found[key][vote] for key, vote in wanted], np.int64)
        parts = (found[key][vote * size :][:size] for key, vote in wanted)
        return np.array([int.from_bytes(part, "little") for part in parts], np.int64)
