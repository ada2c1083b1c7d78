"""The stages' asking, answered by the sealed journals of a folder: nothing is opened, sent or limited."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from db3.errors import DataError, TeacherError, one_line
from db3.shard_store import Arrays
from db3.teachers.answers.recorded import RecordedTeacher, Recorder
from db3.teachers.answers.recording import REPAIR, Recording, empty, read_whole
from db3.teachers.base import TeacherSpec
from db3.teachers.budget import Costs
from db3.work import Work
from flows.config import Config
from flows.engine.teacher_work import Asking
from flows.manifests import misfit

RESTORE = (
    f"restore this one file: {REPAIR} (without a remote: `dvc checkout --force`, or "
    "`dvc repro`, which sends nothing that .db3 knows)"
)


class Replay(Asking):
    """Answers from the journals alone, each to the recorded images only; what was asked is sealed anew.

    Args:
        config: all parameters.
        data: the folder.
        folder: below it, whose journals are read.
        root: where shards are kept meanwhile.
        spec: of the teacher; None: as the journals tell, of which there has to be one.
    """

    def __init__(self, config: Config, data: Path, folder: str, root: Path, spec: TeacherSpec | None = None) -> None:
        place = data / folder / "journal"
        self._recordings, self._known = _read_journals(place), spec
        if not self._recordings and spec is None:
            raise DataError(f"{place} holds no journal; run the stage that writes it, or dvc pull")
        self._unused: dict[tuple[str, int], int] = {}
        super().__init__(config, data, "verify", root=root)
        for path, piece in self._recordings.values():
            _check_teacher(path, piece.header, self.spec)

    def _read_spec(self) -> TeacherSpec:
        """As the samples' journal tells, since each of them was asked; a search may have asked nothing."""
        if self._known is not None:
            return self._known
        _, piece = next(iter(self._recordings.values()))
        return piece.header.teacher

    def affordable(self, work: str, count: int) -> int:
        """As many as were asked, where a budget did not pay for all."""
        if self._config.budget.total is None:
            return count
        recorded = sum(
            len(piece.recording.answers) for (name, _), (_, piece) in self._recordings.items() if name == work
        )
        return min(count, recorded)

    def _limits(self, maximum: Sequence[int]) -> list[int | None]:
        return [None] * len(maximum)

    def _recorded(self, work: Work, index: int, key: str, limit: int | None) -> Arrays:  # noqa: ARG002
        own = self._header(work.name, index)
        path, recording = Path(f"{work.name}.journal"), empty(own)
        if found := self._recordings.get((work.name, index)):
            path, recording = found[0], found[1].recording
        costs = Costs()
        teacher = RecordedTeacher(self.spec, recording, path, costs)
        recorder = Recorder(teacher, costs)
        arrays = self._compute(work, index, recorder, costs)
        self._unused[work.name, index] = teacher.left
        again = recorder.recording({**own, "spent": True} if recorder.spent else own)
        self._keep(key, costs, {"sent_in_all": 0, "lost": 0, "spent": recorder.spent}, again)
        return arrays

    def check_used(self) -> None:
        """Refuse a journal with answers that nobody asked for.

        Raises:
            DataError: it belongs to other work.
        """
        for (work, index), (path, piece) in self._recordings.items():
            count = len(piece.recording.answers)
            left = self._unused.get((work, index), count)
            if left or (work, index) not in self._unused:
                raise DataError(
                    f"{path}, piece {index} of {work}: {left} of its {count} answers were never asked for: it is of "
                    f"other parameters or code; take those that it was sealed with, or {RESTORE}"
                )


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class _Header:
    """What a sealed piece of work says of itself."""

    work: str
    piece: int
    classes: int
    teacher: TeacherSpec
    whole: bool
    spent: bool = False


@dataclass(frozen=True)
class _Piece:
    header: _Header
    recording: Recording


def _read_journals(folder: Path) -> dict[tuple[str, int], tuple[Path, _Piece]]:
    """Every sealed piece of work by its name and number, with its file.

    Raises:
        DataError: a file is damaged, names a piece twice, or holds the pieces of another work.
    """
    found: dict[tuple[str, int], tuple[Path, _Piece]] = {}
    for path in sorted(folder.glob("*.journal")):
        for piece in _pieces(path):
            key = piece.header.work, piece.header.piece
            if key in found or path.stem != piece.header.work.replace(" ", "-"):
                raise DataError(
                    f"{path} holds piece {key[1]} of {one_line(key[0], 40)!r}; expected each piece of its own work "
                    f"once: {RESTORE}"
                )
            found[key] = path, piece
    return found


def _pieces(path: Path) -> Iterator[_Piece]:
    for recording in read_whole(path.read_bytes(), path):
        header = _read_header(recording.header, path)
        votes, sizes = recording.votes, recording.sizes
        if (votes[:, 0] < sizes).any() or (votes[:, 1] > sizes).any() or (votes[:, 2] > votes[:, 1]).any():
            raise DataError(f"{path}, piece {header.piece}: votes that no call can have taken; {RESTORE}")
        held = {name: value for name, value in recording.header.items() if name != "whole"}
        yield _Piece(header, replace(recording, header=held))


def _read_header(values: dict[str, Any], path: Path) -> _Header:
    try:
        return _HEADER.validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        raise DataError(f"{path}: its header's {misfit(error)}; {RESTORE}") from None
    except (TeacherError, RecursionError) as error:
        raise DataError(f"{path}: its header tells of {one_line(error)}") from None


_HEADER = TypeAdapter(_Header)


def _check_teacher(path: Path, header: _Header, spec: TeacherSpec) -> None:
    """Every piece was answered by the one teacher."""
    if header.teacher == spec and header.classes == spec.classes:
        return
    names = ("input_shape", "bounds", "classes", "max_batch", "identity", "levels")
    pairs = [(f"teacher.{name}", getattr(header.teacher, name), getattr(spec, name)) for name in names]
    pairs.append(("classes", header.classes, spec.classes))
    name, said, expected = next(pair for pair in pairs if pair[1] != pair[2])
    raise DataError(
        f"{path}, piece {header.piece}: {name} is {one_line(said, 70)}, but the samples' teacher has "
        f"{one_line(expected, 70)}: answers of another teacher; {RESTORE}"
    )
