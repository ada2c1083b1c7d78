"""Pieces of work that ask the teacher: each with its answers in their order, all within one budget.

What lies where, below `.db3/` (git-ignored; DVC removes a stage's outs before it runs, and must not remove these):

    answers.sqlite       every answer of the teacher, by content (`db3.teachers.answers`; `runtime.answers`)
    answers/…/KEY.npz    the sealed answers of a finished piece, and what it has cost
    shards/…/KEY.npz     what the piece found (`flows.engine.shards`)
"""

import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from db3.digest import digest_json
from db3.errors import DataError
from db3.files import whole_file
from db3.shard_store import Arrays, ShardStore
from db3.teachers.answers.place import open_answers
from db3.teachers.answers.recorded import Recorder
from db3.teachers.answers.recording import Recording, described, whole
from db3.teachers.answers.store import Account, AnswerStore
from db3.teachers.base import Teacher, TeacherSpec
from db3.teachers.budget import COUNTS, Budget, Costs
from db3.teachers.folder import account_of, late_adapter, read_spec, stack_votes, votes_of
from db3.work import Work
from flows.config import Config, answers_of, device_of
from flows.engine.shards import STORE, Shards, map_shards

Compute = Callable[[int], Arrays]
_KEPT = (*COUNTS, "sent_in_all", "lost", "spent")
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
        root: where sealed answers and shards are kept.

    Attributes:
        spec: of the teacher.
        reused: pieces found in the store.
        pieces: all of them.
        costs: sums over all pieces so far: the counts of `db3.teachers.budget.COUNTS` for this run, in which a piece
            found finished is known and nothing of it sent; `sent_in_all` by all runs of the same pieces, and `lost`,
            those of them that brought no answer; and `spent`, pieces that the budget ended.
    """

    def __init__(
        self, config: Config, data: Path, stage: str, planned: int = 0, before: int = 0, root: Path = STORE.parent
    ) -> None:
        self._config, self._folder, self._stage = config, data / "teacher", stage
        self._planned, self._before = planned, before
        self._shards, self._answers = ShardStore(root / STORE.name), ShardStore(root / "answers")
        self._place = answers_of(config)
        self._threads = threading.local()
        self._done: list[tuple[str, list[str]]] = []
        self._ended: list[str] = []
        self.reused = self.pieces = 0
        self.costs = dict.fromkeys(_KEPT, 0)
        self.spec = self._read_spec()

    def _read_spec(self) -> TeacherSpec:
        return read_spec(self._folder)

    @cached_property
    def _account(self) -> Account:
        return account_of(self._folder)

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """As the teacher of the piece that is being computed decides."""
        return _teacher.get().decide(images)

    def run(self, work: Work) -> Shards:
        """Bring the pieces of a work about: a runner (`db3.work`) that resumes, budgets and distributes.

        A piece that the budget ended is kept under a key of its own: with a larger budget it is computed again, by the
        answers that are known and those still to be sent.
        """
        keys = work.keys_on(device_of(self._config), self._config.runtime.threads)
        keys = self._following(keys) if work.follows else keys
        limits = self._limits(work.maximum)

        def name(index: int) -> str:
            return self._name(keys[index], limits[index])

        def costs(index: int) -> tuple[int, int]:
            kept = self._costs(name(index))
            return kept["asked"], kept["sent"]

        def compute_piece(index: int) -> Arrays:
            return self._recorded(work, index, keys[index], limits[index])

        names = [name(index) for index in range(len(keys))]
        known = {name for name in names if name in self._shards}
        label = self._stage if work.name == "search" else f"{self._stage} {work.name}"
        runtime, store = self._config.runtime, self._shards
        shards = map_shards(label, names, compute_piece, runtime, work.maximum, "query", store, name, costs)
        self._settle(work.name, keys, limits, known)
        self.reused += shards.reused
        self.pieces += len(shards)
        return shards

    def affordable(self, work: str, count: int) -> int:  # noqa: ARG002 - a proof looks it up
        """How many of `count` images the budget still allows, each with all its votes; nothing else is to come."""
        left, self._planned = self._left(), 0
        return count if left is None else min(count, left // self._config.teacher.votes)

    def seal(self, folder: Path) -> None:
        """Write the answers of all pieces, a file for each kind of work: the same bytes whatever was known before, and
        however often a run was killed.
        """
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
        return None if total is None else max(0, total - self._before - self.costs["sent_in_all"])

    def _name(self, key: str, limit: int | None) -> str:
        """The key that a piece's results are kept under: its own, or where the budget ended it, one with its limit."""
        return key if limit is None or self._answers.path(key).exists() else digest_json([key, "limit", limit])

    def _recorded(self, work: Work, index: int, key: str, limit: int | None) -> Arrays:
        """One piece, computed; its answers are kept in their order before its results are."""
        costs, header = Costs(limit=limit), self._header(work.name, index)
        store = None if self._place is None else open_answers(self._place)
        account = replace(self._account, scope=work.scopes[index])
        recorder = Recorder(self._stack(costs, store, account), costs)
        arrays = self._compute(work, index, recorder, costs)
        sent, answered = (costs.sent, costs.answered) if store is None else store.balance(account)
        recording = recorder.recording({**header, "spent": True} if recorder.spent else header)
        name = digest_json([key, "limit", limit]) if recorder.spent else key
        self._keep(name, costs, {"sent_in_all": sent, "lost": sent - answered, "spent": recorder.spent}, recording)
        return arrays

    def _compute(self, work: Work, index: int, teacher: Teacher, costs: Costs) -> Arrays:
        """A piece's arrays; while it is computed, `decide` is this teacher's within its budget."""
        _teacher.set(Budget(teacher, costs=costs))
        return work.compute(index)

    def _stack(self, costs: Costs, store: AnswerStore | None, account: Account) -> Teacher:
        """The teacher itself: a thread opens the model when a piece first needs it, and keeps it for those to come."""
        thread = self._threads
        if not hasattr(thread, "adapter"):
            device, link = device_of(self._config), self._config.runtime.link
            thread.adapter = late_adapter(self._folder, device, link)
        return stack_votes(thread.adapter, votes_of(self._folder), costs, store, account)

    def _keep(self, name: str, costs: Costs, more: dict[str, int], recording: Recording) -> None:
        entry: Arrays = {count: np.array(value, np.int64) for count, value in {**costs.counts(), **more}.items()}
        self._answers.put(name, {**entry, "journal": np.frombuffer(whole(recording), np.uint8)})

    def _header(self, work: str, index: int) -> dict[str, Any]:
        return {"work": work, "piece": index, "classes": self.spec.classes, "teacher": described(self.spec)}

    def _settle(self, work: str, keys: Sequence[str], limits: Sequence[int | None], known: set[str]) -> None:
        """Add up what the pieces have cost; of those found finished all is known, and nothing was sent by this run."""
        names = [self._name(key, limit) for key, limit in zip(keys, limits, strict=True)]
        for key, name in zip(keys, names, strict=True):
            counts = self._costs(name)
            if name in known:
                counts.update(known=counts["asked"], sent=0, answered=0)
            for count, value in counts.items():
                self.costs[count] += value
            if name != key:
                self._ended.append(name)
        self._done.append((work, names))

    def _costs(self, name: str) -> dict[str, int]:
        """What a piece has cost."""
        entry = self._entry(name)
        return {count: int(entry.get(count, 0)) for count in _KEPT}  # older ones know fewer

    def _entry(self, name: str) -> Arrays:
        entry = self._answers.get(name)
        if entry is None:
            raise DataError(
                f"{self._answers.path(name)} is missing or damaged, but the results found with its answers are there: "
                f"delete {self._shards.path(name)} to compute this one piece again; nothing known is sent twice"
            )
        return entry
