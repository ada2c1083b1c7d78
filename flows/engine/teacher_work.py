"""Pieces of work that ask the teacher: each with its answers, all within one budget.

What lies where, below `.db3/` (git-ignored; DVC removes a stage's outs before it runs, and must not remove these):

    journal/KEY/         the open journal of a piece that is being asked, or that the budget ended
    answers/…/KEY.npz    the sealed journal of a finished piece, and what it has cost
    shards/…/KEY.npz     what the piece found (`flows.engine.shards`)
"""

import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from db3.digest import digest_json
from db3.errors import DataError
from db3.files import whole_file, write_bytes
from db3.teachers.answers.answers import Answers
from db3.teachers.answers.journal import FILE, Journal, discard
from db3.teachers.answers.recorded import JournalStore
from db3.teachers.answers.recording import described, read_whole, whole
from db3.teachers.base import Teacher, TeacherSpec
from db3.teachers.budget import COUNTS, Budget, Costs
from db3.teachers.folder import open_adapter, read_spec, votes_of
from db3.teachers.votes import Votes
from db3.work import Work
from flows.config import Config, device_of
from flows.engine.shards import STORE, Shards, map_shards
from flows.engine.store import Arrays, ShardStore

Compute = Callable[[int], Arrays]
_KEPT = (*COUNTS, "spent")
# Whom the piece that is being computed asks; `drive` carries it into the thread that its teacher decides in.
_teacher: ContextVar[Budget] = ContextVar("teacher")


class Asking:
    """Pieces of work and what they cost, whoever computed them, and when; within a piece, the teacher that it asks.

    Args:
        config: all parameters.
        data: the folder.
        stage: name for people.
        planned: images that all pieces to come may ask for, about: the budget is shared out by it.
        before: images sent by earlier stages.
        root: where journals, answers and shards are kept.

    Attributes:
        spec: of the teacher.
        reused: pieces found in the store.
        pieces: all of them.
        costs: sums over all pieces so far, by the names of `db3.teachers.budget.COUNTS`; `sent` by all runs, `known`
            those that this run had to send nothing for; and `spent`, pieces that the budget ended.
    """

    def __init__(
        self, config: Config, data: Path, stage: str, planned: int = 0, before: int = 0, root: Path = STORE.parent
    ) -> None:
        self._config, self._folder, self._stage = config, data / "teacher", stage
        self._planned, self._before = planned, before
        self._root = root
        self._shards, self._answers = ShardStore(root / STORE.name), ShardStore(root / "answers")
        self._threads = threading.local()
        self._done: list[tuple[str, list[str]]] = []
        self._ended: list[str] = []
        self.reused = self.pieces = 0
        self.costs = dict.fromkeys(_KEPT, 0)
        self.spec = self._read_spec()

    def _read_spec(self) -> TeacherSpec:
        return read_spec(self._folder)

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """As the teacher of the piece that is being computed decides."""
        return _teacher.get().decide(images)

    def run(self, work: Work) -> Shards:
        """Bring the pieces of a work about: a runner (`db3.work`) that resumes, budgets and distributes."""
        keys = work.keys_on(device_of(self._config), self._config.runtime.threads)
        return self.map(work.name, keys, work.compute, work.maximum, work.follows)

    def affordable(self, work: str, count: int) -> int:  # noqa: ARG002 - a proof looks it up
        """How many of `count` images the budget still allows, each with all its votes; nothing else is to come."""
        left, self._planned = self._left(), 0
        return count if left is None else min(count, left // self._config.teacher.votes)

    def map(
        self, work: str, keys: Sequence[str], compute: Compute, maximum: Sequence[int], follows: bool = False
    ) -> Shards:
        """`map_shards` with a journal for each piece.

        A piece that the budget ended is kept under a key of its own, beside its open journal: with a larger budget it
        goes on from there.

        Args:
            work: names these pieces, and the file that their answers are sealed in.
            keys: digest of all that decides a piece, but for the budget.
            compute: a piece's arrays; asks this object, one piece at a time in a thread.
            maximum: images that each piece may ask for, about.
            follows: the pieces build on those mapped before: where the budget ended one of them, they are others.
        """
        keys = self._following(keys) if follows else keys
        limits = self._limits(maximum)

        def name(index: int) -> str:
            return self._name(keys[index], limits[index])

        def costs(index: int) -> tuple[int, int]:
            kept = self._costs(name(index))
            return kept["asked"], kept["sent"]

        def compute_piece(index: int) -> Arrays:
            return self._recorded(work, index, keys[index], limits[index], compute)

        names = [name(index) for index in range(len(keys))]
        known = {name for name in names if name in self._shards}
        label = self._stage if work == "search" else f"{self._stage} {work}"
        runtime, store = self._config.runtime, self._shards
        shards = map_shards(label, names, compute_piece, runtime, maximum, "query", store, name, costs)
        self._settle(work, keys, limits, known)
        self.reused += shards.reused
        self.pieces += len(shards)
        return shards

    def seal(self, folder: Path) -> None:
        """Write the answers of all pieces, a file for each kind of work: the same bytes however often it was killed."""
        for work, names in self._done:
            if any(self._costs(name)["asked"] or self._costs(name)["spent"] for name in names):
                with whole_file(folder / f"{work.replace(' ', '-')}.journal") as file:
                    for name in names:
                        file.write(self._entry(name)["journal"].tobytes())

    def _following(self, keys: Sequence[str]) -> Sequence[str]:
        return [digest_json([key, *self._ended]) for key in keys] if self._ended else keys

    def _limits(self, maximum: Sequence[int]) -> list[int | None]:
        """What each piece may send: its part of what is left, by what it may ask of all that is still to come."""
        left, total = self._left(), sum(maximum)
        planned = max(self._planned, total)
        self._planned = max(0, self._planned - total)
        if left is None:
            return [None] * len(maximum)
        share = left * total // planned if planned else left
        ends = [share * upto // max(1, total) for upto in accumulate(maximum, initial=0)]
        return [end - start for start, end in pairwise(ends)]

    def _left(self) -> int | None:
        total = self._config.budget.total
        return None if total is None else max(0, total - self._before - self.costs["sent"])

    def _name(self, key: str, limit: int | None) -> str:
        """The key that a piece's results are kept under: its own, or where the budget ended it, one with its limit."""
        return key if limit is None or self._answers.path(key).exists() else digest_json([key, "limit", limit])

    def _recorded(self, work: str, index: int, key: str, limit: int | None, compute: Compute) -> Arrays:
        """One piece, computed with its journal open; its answers are kept before its results are."""
        header, folder = self._header(work, index), self._root / "journal" / key
        own = {**header, "key": key}
        self._restore(folder, key, own)
        with Journal(folder, own, durable=limit is not None) as journal:
            costs = Costs(sent=journal.sent, limit=limit, note=journal.note)
            answers = Answers(self.spec, lambda: self._voting(costs), JournalStore(journal), costs)
            arrays = self._compute(compute, index, answers, costs)
            sealed = journal.sealed({**header, "spent": True} if answers.spent else header)
        name = digest_json([key, "limit", limit]) if answers.spent else key
        self._keep(name, costs, answers.spent, sealed)
        return arrays

    def _compute(self, compute: Compute, index: int, teacher: Teacher, costs: Costs) -> Arrays:
        """A piece's arrays; while it is computed, `decide` is this teacher's within its budget."""
        _teacher.set(Budget(teacher, costs=costs))
        return compute(index)

    def _voting(self, costs: Costs) -> Votes:
        """The teacher itself: a thread opens the model when a piece first needs it, and keeps it for those to come."""
        thread = self._threads
        if not hasattr(thread, "adapter"):
            device, link = device_of(self._config), self._config.runtime.link
            thread.sending = _Sending()
            thread.adapter = open_adapter(self._folder, device, sending=thread.sending, link=link)
        thread.sending.costs = costs
        return Votes(thread.adapter, votes_of(self._folder), costs)

    def _keep(self, name: str, costs: Costs, spent: bool, sealed: bytes) -> None:
        counts = {**costs.counts(), "spent": int(spent)}
        entry: Arrays = {count: np.array(value, np.int64) for count, value in counts.items()}
        self._answers.put(name, {**entry, "journal": np.frombuffer(sealed, np.uint8)})

    def _header(self, work: str, index: int) -> dict[str, Any]:
        return {"work": work, "piece": index, "classes": self.spec.classes, "teacher": described(self.spec)}

    def _restore(self, folder: Path, key: str, header: dict[str, Any]) -> None:
        """Where a finished piece has lost its results but not its answers, begin from those."""
        entry = self._answers.get(key)
        path = folder / FILE
        if entry is not None and not path.exists():
            (recording,) = read_whole(entry["journal"].tobytes(), self._answers.path(key))
            write_bytes(path, whole(replace(recording, header=header, sent=int(entry["sent"]))))

    def _settle(self, work: str, keys: Sequence[str], limits: Sequence[int | None], known: set[str]) -> None:
        """Add up what the pieces have cost, those known before nothing, and drop the journals of the finished ones."""
        names = [self._name(key, limit) for key, limit in zip(keys, limits, strict=True)]
        for key, name in zip(keys, names, strict=True):
            counts = self._costs(name)
            if name in known:
                counts["known"] = counts["asked"]
            for count, value in counts.items():
                self.costs[count] += value
            if name == key:
                discard(self._root / "journal" / key)
            else:
                self._ended.append(name)
        self._done.append((work, names))

    def _costs(self, name: str) -> dict[str, int]:
        entry = self._entry(name)
        return {count: int(entry[count]) for count in _KEPT}

    def _entry(self, name: str) -> Arrays:
        entry = self._answers.get(name)
        if entry is None:
            raise DataError(
                f"{self._answers.path(name)} is missing or damaged, but the results found with its answers are there: "
                f"delete {self._root} to ask anew"
            )
        return entry


class _Sending:
    """What an adapter announces to: the costs of whichever piece it is asked for."""

    costs: Costs

    def __call__(self, count: int) -> None:
        self.costs.send(count)
