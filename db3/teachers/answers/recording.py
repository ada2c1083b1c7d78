r"""The format of a journal: what its bytes mean, and what is forgiven and what is refused when they are damaged.

    b"db3 journal 1\n"                      the format and its version
    record of kind HEADER                   JSON: the teacher's spec, the work, and what else names it
    record, record, …

A record is a mark, its kind, the length of its payload, the payload, and a check of 8 bytes over all that and the check
of the record before: none can be lost, doubled or moved without notice. Integers are little-endian.

| kind | payload |
|---|---|
| SENT | count: so many images are about to be sent |
| TICK | digest of the images asked, votes (cast, compared, changed), then one answer an image |
| SNAPSHOT | ticks, answers, sent, whether votes follow; then the columns of all ticks, then all answers |
| PART | digest of the images of a call that failed half-way, one bit an image: answered; then these answers |

An answer takes one byte where there are up to 256 classes, else two. A file that is appended to ends in the middle of a
record when its machine dies: such a tail is cut off, and its queries are asked again. A record that is wrong although
others follow it is damage, and refused; so is any wrong record of a file that was written whole.
"""

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped, UInt32

from db3.errors import DataError
from db3.teachers.base import TeacherSpec

MAGIC = b"db3 journal 1\n"
HEADER, SENT, TICK, SNAPSHOT, PART = 1, 2, 3, 4, 5
_MARK = b"\xd3\xb3"
_HEAD = struct.Struct("<2sBI")
_CHECK = 8
_SENT = struct.Struct("<I")
_TICK = struct.Struct("<4I")
_SNAPSHOT = struct.Struct("<QQQB")
_PART = struct.Struct("<II")


@dataclass(frozen=True)
class Part:
    """What was answered of a call that failed half-way; only the last call of a journal can be one.

    Attributes:
        digest: of the call's images.
        known: which of them were answered.
        answers: to these.
    """

    digest: int
    known: Bool[np.ndarray, " n"]
    answers: Shaped[np.ndarray, " a"]


@dataclass(frozen=True)
class Recording:
    """What a journal holds.

    Attributes:
        header: whose answers these are.
        sizes: images of each tick (one call of `decide`).
        digests: of each tick's images, see `db3.teachers.answers.recorded`.
        votes: of each tick: votes cast, images compared (asked twice), images whose second answer differed.
        answers: of all ticks, one after the other.
        sent: images that were about to be sent: more than the votes where an attempt brought no answer, or a run died
            while it waited for one.
        part: of the call after the last tick; None: nothing of it is known. No snapshot holds it.
    """

    header: dict[str, Any]
    sizes: UInt32[np.ndarray, " t"]
    digests: UInt32[np.ndarray, " t"]
    votes: UInt32[np.ndarray, "t 3"]
    answers: Shaped[np.ndarray, " a"]
    sent: int
    part: Part | None = None

    @property
    def total_votes(self) -> int:
        """Votes of all ticks."""
        return int(self.votes[:, 0].sum(dtype=np.int64))


def width(classes: int) -> np.dtype[Any]:
    """The type of an answer.

    Raises:
        DataError: there are more classes than two bytes can tell apart.
    """
    if classes > 2**16:
        raise DataError(f"a teacher of {classes} classes; a journal knows up to 65,536: merge some in the adapter")
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
    """The first bytes of a journal, and the check that its next record goes on from.

    Args:
        header: `classes`, and whatever names the journal; JSON values.
    """
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    data, check = record(HEADER, text, b"")
    return MAGIC + data, check


def record(kind: int, payload: bytes, before: bytes) -> tuple[bytes, bytes]:
    """One record and its check; `before` is the check of the one before it."""
    head = _HEAD.pack(_MARK, kind, len(payload))
    check = _check(before, head, payload)
    return head + payload + check, check


def sent_payload(count: int) -> bytes:
    return _SENT.pack(count)


def tick_payload(digest: int, votes: tuple[int, int, int], answers: Shaped[np.ndarray, " n"], classes: int) -> bytes:
    return _TICK.pack(digest, *votes) + answers.astype(width(classes)).tobytes()


def part_payload(part: Part, classes: int) -> bytes:
    known, answers = np.packbits(part.known, bitorder="little"), part.answers.astype(width(classes))
    return _PART.pack(part.digest, len(part.known)) + known.tobytes() + answers.tobytes()


def snapshot_payload(recording: Recording) -> bytes:
    """All ticks as columns; the votes are left out where each image had one."""
    voted = bool((recording.votes != _once(recording.sizes)).any())
    columns = [recording.sizes, recording.digests, *([recording.votes] if voted else [])]
    head = _SNAPSHOT.pack(len(recording.sizes), len(recording.answers), recording.sent, voted)
    answers = recording.answers.astype(width(recording.header["classes"]))
    return b"".join([head, *(column.astype("<u4").tobytes() for column in columns), answers.tobytes()])


def whole(recording: Recording) -> bytes:
    """A journal of one snapshot, as it is written in one go: the same recording always gives the same bytes."""
    data, check = opening({**recording.header, "whole": True})
    return data + record(SNAPSHOT, snapshot_payload(recording), check)[0]


def read_growing(data: bytes, path: Path) -> tuple[Recording, bytes, int]:
    """Read a journal that is appended to; what a dying machine left of its last record is not read.

    Returns:
        What it holds, the check to go on from, and how many of its bytes are good.

    Raises:
        DataError: another format, or damage before the last record.
    """
    header, place, check = _header(data, 0, path)
    grown = _Growing(header)
    first = True
    while place < len(data):
        found = _record(data, place, check)
        if found is None:
            if (first and header.get("whole")) or _is_followed(data, place):
                raise damaged(path, place)
            break
        if not grown.take(found[0], found[1]):
            raise damaged(path, place)
        first, place, check = False, found[2], found[3]
    return grown.recording(), check, place


def read_whole(data: bytes, path: Path) -> Iterator[Recording]:
    """Read journals that were written in one go, one after the other in one file.

    Raises:
        DataError: another format, or any damage.
    """
    place = 0
    while place < len(data):
        header, place, check = _header(data, place, path)
        found = _record(data, place, check)
        if found is None or found[0] != SNAPSHOT:
            raise damaged(path, place)
        grown = _Growing(header)
        if not grown.take(SNAPSHOT, found[1]):
            raise damaged(path, place)
        yield grown.recording()
        place = found[2]


def empty(header: dict[str, Any]) -> Recording:
    """A recording of nothing."""
    none = np.zeros(0, np.uint32)
    return Recording(header, none, none, np.zeros((0, 3), np.uint32), np.zeros(0, width(header["classes"])), 0)


def damaged(path: Path, place: int) -> DataError:
    return DataError(
        f"{path} is damaged at byte {place}: its answers cannot be trusted; restore it from a copy, or delete it to "
        "send its queries again"
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
    header = json.loads(found[1])
    return header, found[2], found[3]


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


def _is_followed(data: bytes, place: int) -> bool:
    """Whether an unharmed record begins behind this place: its check goes on from the bytes just before it."""
    found = data.find(_MARK, place + 1)
    while found >= 0:
        if _record(data, found, data[found - _CHECK : found]):
            return True
        found = data.find(_MARK, found + 1)
    return False


def _check(before: bytes, head: bytes, payload: bytes) -> bytes:
    digest = hashlib.blake2b(before, digest_size=_CHECK)
    digest.update(head)
    digest.update(payload)
    return digest.digest()


class _Growing:
    """A recording in the making; its lists are joined once, for there may be a million short ticks."""

    def __init__(self, header: dict[str, Any]) -> None:
        self._header, self._kind = header, width(header["classes"])
        self._whole = [empty(header)]
        self._ticks: list[int] = []
        self._answers: list[bytes] = []
        self._sent = 0
        self._part: Part | None = None

    def take(self, kind: int, payload: bytes) -> bool:
        """Take in a record; false for one that means nothing, though its check is right."""
        try:
            if kind == SENT:
                self._sent += _SENT.unpack(payload)[0]
            elif kind == TICK:
                size, rest = divmod(len(payload) - _TICK.size, self._kind.itemsize)
                self._ticks += (size, *_TICK.unpack_from(payload))
                self._answers.append(payload[_TICK.size :])
                self._part = None
                return not rest
            elif kind == PART:
                self._part = _part(payload, self._kind)
            elif kind == SNAPSHOT and not self._ticks:
                self._whole.append(_snapshot(self._header, payload))
            else:
                return False
        except (struct.error, ValueError):
            return False
        return True

    def recording(self) -> Recording:
        ticks = np.array(self._ticks, np.uint32).reshape(-1, 5)
        answers = np.frombuffer(b"".join(self._answers), self._kind)
        parts = [*self._whole, Recording(self._header, ticks[:, 0], ticks[:, 1], ticks[:, 2:], answers, self._sent)]
        return Recording(
            self._header,
            np.concatenate([part.sizes for part in parts]),
            np.concatenate([part.digests for part in parts]),
            np.concatenate([part.votes for part in parts]),
            np.concatenate([part.answers for part in parts]),
            sum(part.sent for part in parts),
            self._part,
        )


def _part(payload: bytes, kind: np.dtype[Any]) -> Part:
    digest, count = _PART.unpack_from(payload)
    bits = np.frombuffer(payload, np.uint8, (count + 7) // 8, _PART.size)
    known = np.unpackbits(bits, count=count, bitorder="little").astype(bool)
    answers = np.frombuffer(payload[_PART.size + len(bits) :], kind)
    if len(answers) != known.sum():
        raise ValueError("there is not one answer for each image that was answered")
    return Part(digest, known, answers)


def _snapshot(header: dict[str, Any], payload: bytes) -> Recording:
    ticks, count, sent, voted = _SNAPSHOT.unpack_from(payload)
    kind = width(header["classes"])
    columns = np.frombuffer(payload, "<u4", ticks * (5 if voted else 2), _SNAPSHOT.size)
    answers = np.frombuffer(payload, kind, count, _SNAPSHOT.size + columns.nbytes)
    sizes, digests = columns[:ticks], columns[ticks : 2 * ticks]
    votes = columns[2 * ticks :].reshape(ticks, 3) if voted else _once(sizes)
    if int(sizes.sum(dtype=np.int64)) != count or len(payload) != _SNAPSHOT.size + columns.nbytes + answers.nbytes:
        raise ValueError("the sizes of the ticks do not add up to the answers")
    return Recording(header, sizes, digests, votes, answers, sent)


def _once(sizes: UInt32[np.ndarray, " t"]) -> UInt32[np.ndarray, "t 3"]:
    """The votes of a teacher of one vote."""
    return np.stack([sizes, np.zeros_like(sizes), np.zeros_like(sizes)], axis=1)
