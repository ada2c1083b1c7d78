r"""The format of sealed answers: one recording after the other in a file, each of one piece of work.

    b"db3 journal 1\n"                      the format and its version
    record of kind HEADER                   JSON: the teacher's spec, the work, and what else names it
    record of kind SNAPSHOT                 calls, answers, sent, whether votes follow; then the columns of all calls,
                                            then all answers

A record is a mark, its kind, the length of its payload, the payload, and a check of 8 bytes over all that and the check
of the record before: none can be lost, doubled or moved without notice. Integers are little-endian. An answer takes one
byte where there are up to 256 classes, else two.
"""

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt32

from db3.errors import DataError, one_line
from db3.teachers.base import TeacherSpec

MAGIC = b"db3 journal 1\n"
HEADER, SNAPSHOT = 1, 4
_MARK = b"\xd3\xb3"
_HEAD = struct.Struct("<2sBI")
_CHECK = 8
_SNAPSHOT = struct.Struct("<QQQB")


@dataclass(frozen=True)
class Recording:
    """The answers to one piece of work, in the order asked.

    Attributes:
        header: whose answers these are.
        sizes: images of each call of `decide`.
        digests: of each call's images, see `db3.teachers.answers.recorded`.
        votes: of each call: votes cast, images compared (asked twice), images whose second answer differed.
        answers: of all calls, one after the other.
        sent: the votes of all calls: what all this has cost where nothing was known before and no attempt was lost.
    """

    header: dict[str, Any]
    sizes: UInt32[np.ndarray, " t"]
    digests: UInt32[np.ndarray, " t"]
    votes: UInt32[np.ndarray, "t 3"]
    answers: Shaped[np.ndarray, " a"]
    sent: int

    @property
    def total_votes(self) -> int:
        """Votes of all calls."""
        return int(self.votes[:, 0].sum(dtype=np.int64))


def width(classes: int) -> np.dtype[Any]:
    """The type of an answer.

    Raises:
        DataError: there are more classes than two bytes can tell apart.
    """
    if classes > 2**16:
        raise DataError(f"a teacher of {classes} classes; an answer is one of up to 65,536: merge some in the adapter")
    return np.dtype("<u1" if classes <= 2**8 else "<u2")


def described(spec: TeacherSpec) -> dict[str, Any]:
    """What a header tells of the teacher: a proof needs no more of it."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(spec).items()}


def spec_of(described: dict[str, Any]) -> TeacherSpec:
    """The spec that `described` came from."""
    channels, height, width = described["input_shape"]
    low, high = described["bounds"]
    return TeacherSpec(**{**described, "input_shape": (channels, height, width), "bounds": (low, high)})


def opening(header: dict[str, Any]) -> tuple[bytes, bytes]:
    """The first bytes of a recording, and the check that its next record goes on from.

    Args:
        header: `classes`, and whatever names the work; JSON values.
    """
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    data, check = record(HEADER, text, b"")
    return MAGIC + data, check


def record(kind: int, payload: bytes, before: bytes) -> tuple[bytes, bytes]:
    """One record and its check; `before` is the check of the one before it."""
    head = _HEAD.pack(_MARK, kind, len(payload))
    check = _check(before, head, payload)
    return head + payload + check, check


def snapshot_payload(recording: Recording) -> bytes:
    """All calls as columns; the votes are left out where each image had one."""
    voted = bool((recording.votes != _once(recording.sizes)).any())
    columns = [recording.sizes, recording.digests, *([recording.votes] if voted else [])]
    head = _SNAPSHOT.pack(len(recording.sizes), len(recording.answers), recording.sent, voted)
    answers = recording.answers.astype(width(recording.header["classes"]))
    return b"".join([head, *(column.astype("<u4").tobytes() for column in columns), answers.tobytes()])


def whole(recording: Recording) -> bytes:
    """The sealed form: the same recording always gives the same bytes."""
    data, check = opening({**recording.header, "whole": True})
    return data + record(SNAPSHOT, snapshot_payload(recording), check)[0]


def read_whole(data: bytes, path: Path) -> Iterator[Recording]:
    """Read sealed recordings, one after the other in one file.

    Raises:
        DataError: another format, or any damage.
    """
    place = 0
    while place < len(data):
        header, place, check = _header(data, place, path)
        found = _record(data, place, check)
        if found is None or found[0] != SNAPSHOT:
            raise damaged(path, place)
        try:
            yield _snapshot(header, found[1])
        except (struct.error, ValueError, OverflowError):  # sizes that the file does not hold
            raise damaged(path, place) from None
        place = found[2]


def empty(header: dict[str, Any]) -> Recording:
    """A recording of nothing."""
    none = np.zeros(0, np.uint32)
    return Recording(header, none, none, np.zeros((0, 3), np.uint32), np.zeros(0, width(header["classes"])), 0)


REPAIR = "`python -m flows.repair && dvc pull --force`"
"""What brings a damaged file again from a remote."""


def damaged(path: Path, place: int) -> DataError:
    return DataError(
        f"{path} is damaged at byte {place}: its answers cannot be trusted; restore this one file "
        f"({REPAIR}, or a copy), or run its stage again, which sends nothing that "
        ".db3 knows"
    )


def _header(data: bytes, start: int, path: Path) -> tuple[dict[str, Any], int, bytes]:
    if data[start : start + len(MAGIC)] != MAGIC:
        if start == 0 and data.startswith(MAGIC[:12]):
            what = data[: data.find(b"\n") + 1 or 40].decode(errors="replace").strip()
            raise DataError(f"{path} is a {what[:40]!r}; this db3 reads {MAGIC.decode().strip()!r}: take one that fits")
        raise damaged(path, start)
    found = _record(data, start + len(MAGIC), b"")
    if found is None or found[0] != HEADER:
        raise damaged(path, start + len(MAGIC))
    return _header_fields(found[1], path), found[2], found[3]


def _header_fields(text: bytes, path: Path) -> dict[str, Any]:
    """The one field that this format needs is a number of classes; what the others mean is their writer's affair."""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise DataError(f"{path} has a header that is no JSON: it was not written by db3; restore this file") from None
    classes = header.get("classes") if isinstance(header, dict) else None
    if type(classes) is not int or classes < 1:
        raise DataError(
            f"{path} has a header of {one_line(classes, 40)} classes; expected 1 or more: it was not written by db3; "
            "restore this file"
        )
    return dict(header)


def _record(data: bytes, place: int, before: bytes) -> tuple[int, bytes, int, bytes] | None:
    """Kind, payload, the place behind it and its check; None where no whole, unharmed record begins."""
    if place + _HEAD.size > len(data):
        return None
    mark, kind, length = _HEAD.unpack_from(data, place)
    begin = place + _HEAD.size
    end = begin + length
    if mark != _MARK or end + _CHECK > len(data):
        return None
    check = data[end : end + _CHECK]
    payload = data[begin:end]
    if _check(before, data[place:begin], payload) != check:
        return None
    return kind, payload, end + _CHECK, check


def _check(before: bytes, head: bytes, payload: bytes) -> bytes:
    digest = hashlib.blake2b(before, digest_size=_CHECK)
    digest.update(head)
    digest.update(payload)
    return digest.digest()


def _snapshot(header: dict[str, Any], payload: bytes) -> Recording:
    calls, count, sent, voted = _SNAPSHOT.unpack_from(payload)
    kind = width(header["classes"])
    columns = np.frombuffer(payload, "<u4", calls * (5 if voted else 2), _SNAPSHOT.size)
    answers = np.frombuffer(payload, kind, count, _SNAPSHOT.size + columns.nbytes)
    sizes, digests = columns[:calls], columns[calls : 2 * calls]
    votes = columns[2 * calls :].reshape(calls, 3) if voted else _once(sizes)
    if int(sizes.sum(dtype=np.int64)) != count or len(payload) != _SNAPSHOT.size + columns.nbytes + answers.nbytes:
        raise ValueError("the sizes of the calls do not add up to the answers")
    if len(answers) and int(answers.max()) >= header["classes"]:
        raise ValueError("an answer that is no class of the teacher's")
    return Recording(header, sizes, digests, votes, answers, sent)


def _once(sizes: UInt32[np.ndarray, " t"]) -> UInt32[np.ndarray, "t 3"]:
    """The votes of a teacher of one vote."""
    return np.stack([sizes, np.zeros_like(sizes), np.zeros_like(sizes)], axis=1)
