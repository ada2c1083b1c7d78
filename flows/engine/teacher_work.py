"""Work that asks the teacher: each piece with a journal of its own, all pieces within one budget.

What lies where, below `.db3/` (git-ignored; DVC removes a stage's outs before it runs, and must not remove these):

    journal/KEY/         the open journal of a piece that is being asked, or that the budget ended
    answers/…/KEY.npz    the sealed journal of a finished piece, and what it has cost
    shards/…/KEY.npz     what the piece found (`flows.engine.shards`)
"""

import threading
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.config import Config
from flows.engine.shards import STORE, Shards, map_shards

if TYPE_CHECKING:
    from db3.teachers.base import Teacher, TeacherSpec
    from db3.teachers.budget import Allowance
    from db3.teachers.meter import Meter
    from flows.engine.store import Arrays

Compute = Callable[[int], "Arrays"]
_NO_COSTS = ("asked", "sent", "paid", "compared", "changed", "replayed", "spent")


class Asking:
    """Pieces of work and what they cost, whoever computed them, and when.

    Args:
        config: all parameters.
        data: the folder.
        stage: name for people.
        planned: images that all pieces to come may ask for, about: the budget is shared out by it.
        before: images paid by earlier stages.
        root: where journals, answers and shards are kept.

    Attributes:
        spec: of the teacher.
        reused: pieces found in the store.
        pieces: all of them.
        costs: sums over all pieces so far: images asked; sent (every attempt, of all runs); paid for the answers kept;
            compared and changed (`db3.teachers.votes`); replayed (answers that this run had to pay nothing for);
            spent (pieces that the budget ended).
    """

    def __init__(
        self, config: Config, data: Path, stage: str, planned: int = 0, before: int = 0, root: Path = STORE.parent
    ) -> None:
        from flows.engine.store import ShardStore

        self._config, self._folder, self._stage = config, data / "teacher", stage
        self._planned, self._before = planned, before
        self._root = root
        self._shards, self._answers = ShardStore(root / STORE.name), ShardStore(root / "answers")
        self._seats = threading.local()
        self._done: list[tuple[str, list[str]]] = []
        self._ended: list[str] = []
        self.reused = self.pieces = 0
        self.costs = dict.fromkeys(_NO_COSTS, 0)
        self.spec = self._read_spec()

    def _read_spec(self) -> "TeacherSpec":
        from db3.teachers.folder import read_spec

        return read_spec(self._folder)

    def teacher(self) -> "Meter":
        """The teacher of the piece that is being computed in this thread."""
        seat: _Seat = self._seats.seat
        return seat.meter

    def affordable(self, work: str, count: int) -> int:  # noqa: ARG002 - a replay looks it up
        """How many of `count` images the budget can still pay, each with all its votes; nothing else is to come."""
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
            compute: a piece's arrays; asks `teacher()`, one piece at a time in a thread.
            maximum: images that each piece may ask for, about.
            follows: the pieces build on those mapped before: where the budget ended one of them, they are others.
        """
        keys = self._following(keys) if follows else keys
        limits = self._limits(maximum)
        names = [self._name(key, limit) for key, limit in zip(keys, limits, strict=True)]

        def recorded(index: int) -> "Arrays":
            return self._recorded(work, index, keys[index], limits[index], compute)

        known = {name for name in names if name in self._shards}
        label = self._stage if work == "search" else f"{self._stage} {work}"
        shards = map_shards(
            label,
            names,
            recorded,
            self._config.runtime,
            maximum,
            "query",
            self._shards,
            lambda index: self._name(keys[index], limits[index]),
            lambda index: self._paid(self._name(keys[index], limits[index])),
        )
        self._settle(work, keys, limits, known)
        self.reused += shards.reused
        self.pieces += len(shards)
        return shards

    def seal(self, folder: Path) -> None:
        """Write the answers of all pieces, a file for each kind of work: the same bytes however often it was killed."""
        from db3.files import whole_file

        for work, names in self._done:
            if any(self._costs(name)["asked"] or self._costs(name)["spent"] for name in names):
                with whole_file(folder / f"{work.replace(' ', '-')}.journal") as file:
                    for name in names:
                        file.write(self._entry(name)["journal"].tobytes())

    def _following(self, keys: Sequence[str]) -> Sequence[str]:
        from db3.digest import digest_json

        return [digest_json([key, *self._ended]) for key in keys] if self._ended else keys

    def _limits(self, maximum: Sequence[int]) -> list[int | None]:
        """What each piece may pay: its part of what is left, by what it may ask of all that is still to come."""
        left, total = self._left(), sum(maximum)
        planned = max(self._planned, total)
        self._planned = max(0, self._planned - total)
        if left is None:
            return [None] * len(maximum)
        purse = left * total // planned if planned else left
        ends = [purse * upto // max(1, total) for upto in accumulate(maximum, initial=0)]
        return [end - start for start, end in pairwise(ends)]

    def _left(self) -> int | None:
        total = self._config.budget.total
        return None if total is None else max(0, total - self._before - self.costs["sent"])

    def _name(self, key: str, limit: int | None) -> str:
        """The key that a piece's results are kept under: its own, or where the budget ended it, one with its limit."""
        from db3.digest import digest_json

        return key if limit is None or self._answers.path(key).exists() else digest_json([key, "limit", limit])

    def _recorded(self, work: str, index: int, key: str, limit: int | None, compute: Compute) -> "Arrays":
        """One piece, computed with its journal open; its answers are kept before its results are."""
        import numpy as np

        from db3.digest import digest_json
        from db3.teachers.answers.journal import Journal
        from db3.teachers.answers.journalled import Journalled
        from db3.teachers.budget import Allowance
        from db3.teachers.meter import Meter

        header, folder = self._header(work, index), self._root / "journal" / key
        self._restore(folder, key, {**header, "key": key})
        with Journal(folder, {**header, "key": key}, durable=limit is not None) as journal:
            seat = self._seat()
            seat.allowance = Allowance(limit, journal.sent, journal.note)
            teacher = Journalled(self.spec, lambda: self._opened(seat), journal, seat.allowance)
            seat.meter = Meter(teacher)
            arrays = compute(index)
            sealed = journal.sealed({**header, "spent": True} if teacher.spent else header)
            counts = {
                "asked": seat.meter.asked,
                "sent": journal.sent,
                "paid": journal.paid,
                "compared": teacher.flips.compared,
                "changed": teacher.flips.changed,
                "replayed": teacher.replayed,
                "spent": int(teacher.spent),
            }
        name = digest_json([key, "limit", limit]) if teacher.spent else key
        entry: Arrays = {count: np.array(value, np.int64) for count, value in counts.items()}
        self._answers.put(name, {**entry, "journal": np.frombuffer(sealed, np.uint8)})
        return arrays

    def _header(self, work: str, index: int) -> dict[str, Any]:
        from db3.teachers.answers.recording import described

        return {"work": work, "piece": index, "classes": self.spec.classes, "teacher": described(self.spec)}

    def _seat(self) -> "_Seat":
        if not hasattr(self._seats, "seat"):
            self._seats.seat = _Seat()
        seat: _Seat = self._seats.seat
        return seat

    def _opened(self, seat: "_Seat") -> "Teacher":
        """The teacher itself, opened when a piece first needs it."""
        from db3.teachers.folder import open_teacher
        from flows.config import device_of

        if seat.opened is None:
            device, link = device_of(self._config), self._config.runtime.link
            seat.opened = open_teacher(self._folder, device, sending=seat.send, link=link)
        return seat.opened.teacher

    def _restore(self, folder: Path, key: str, header: dict[str, Any]) -> None:
        """Where a finished piece has lost its results but not its answers, begin from those."""
        from dataclasses import replace

        from db3.files import write_bytes
        from db3.teachers.answers.recording import read_whole, whole

        entry = self._answers.get(key)
        path = folder / "journal"
        if entry is not None and not path.exists():
            (recording,) = read_whole(entry["journal"].tobytes(), self._answers.path(key))
            write_bytes(path, whole(replace(recording, header=header, sent=int(entry["sent"]))))

    def _settle(self, work: str, keys: Sequence[str], limits: Sequence[int | None], known: set[str]) -> None:
        """Add up what the pieces have cost, those known before nothing, and drop the journals of the finished ones."""
        from db3.teachers.answers.journal import discard

        names = [self._name(key, limit) for key, limit in zip(keys, limits, strict=True)]
        for key, name in zip(keys, names, strict=True):
            counts = self._costs(name)
            if name in known:
                counts["replayed"] = counts["asked"]
            for count, value in counts.items():
                self.costs[count] += value
            if name == key:
                discard(self._root / "journal" / key)
            else:
                self._ended.append(name)
        self._done.append((work, names))

    def _costs(self, name: str) -> dict[str, int]:
        entry = self._entry(name)
        return {count: int(entry[count]) for count in _NO_COSTS}

    def _paid(self, name: str) -> tuple[int, int]:
        costs = self._costs(name)
        return costs["asked"], costs["sent"]

    def _entry(self, name: str) -> "Arrays":
        from db3.errors import DataError

        entry = self._answers.get(name)
        if entry is None:
            raise DataError(
                f"{self._answers.path(name)} is missing or damaged, but the results found with its answers are there: "
                f"delete {self._root} to ask anew"
            )
        return entry


class _Seat:
    """What a thread computes its pieces with: they come and go, the teacher stays open."""

    meter: "Meter"
    allowance: "Allowance"

    def __init__(self) -> None:
        self.opened: Meter | None = None

    def send(self, count: int) -> None:
        self.allowance.send(count)
