"""Ways to harm the files of a finished run, drawn by a seeded generator: from a flipped bit to a forged header."""

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from db3.teachers.answers.recording import HEADER, MAGIC, SNAPSHOT, record

STRANGE: tuple[Any, ...] = (
    *(None, True, "", "x", "\u0000", "ü", 0, 1, -1, 3, 2**31, 2**62, 2**63, 2**64, 10**30, 0.5, 1e308),
    *([], {}, [0], {"a": 1}, [[]], "7e" * 32, 65536, 65537, 256, 999_999),
)
_HEAD = struct.Struct("<2sBI")
_SNAPSHOT = struct.Struct("<QQQB")
Harm = Callable[[random.Random, Path], None]


def harm(draw: random.Random, data: Path, file: Path) -> str:
    """Harm a file, or what lies beside it; the name of what was done."""
    ways: list[Harm] = [flip, cut, append, double, empty, swap, delete, stray, link, into_folder, noise, nested]
    ways += {".json": [forge_json] * 6, ".journal": [forge_header] * 6 + [forge_snapshot] * 6}.get(file.suffix, [])
    ways += {".npy": [forge_array] * 4}.get(file.suffix, [])
    way = draw.choice(ways)
    way(draw, file)
    return way.__name__


def flip(draw: random.Random, file: Path) -> None:
    content = bytearray(file.read_bytes())
    for _ in range(draw.choice((1, 1, 1, 5))):
        if content:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    file.write_bytes(content)


def cut(draw: random.Random, file: Path) -> None:
    content = file.read_bytes()
    start, end = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    file.write_bytes(content[:start] if draw.random() < 0.5 else content[:start] + content[end:])


def append(draw: random.Random, file: Path) -> None:
    with file.open("ab") as output:
        output.write(draw.randbytes(draw.choice((1, 8, 500))) if draw.random() < 0.7 else b"\n")


def double(draw: random.Random, file: Path) -> None:
    file.write_bytes(file.read_bytes() * 2)


def empty(draw: random.Random, file: Path) -> None:
    file.write_bytes(b"")


def swap(draw: random.Random, file: Path) -> None:
    """With another file of its folder."""
    other = draw.choice(sorted(path for path in file.parent.iterdir() if path.is_file()))
    mine, theirs = file.read_bytes(), other.read_bytes()
    file.write_bytes(theirs)
    other.write_bytes(mine)


def delete(draw: random.Random, file: Path) -> None:
    file.unlink()


def stray(draw: random.Random, file: Path) -> None:
    path = file.with_name(draw.choice((f".{file.name}.x.part", f"more{file.suffix}", "zz.journal", ".hidden", "more")))
    path.mkdir() if draw.random() < 0.2 else path.write_bytes(file.read_bytes())


def link(draw: random.Random, file: Path) -> None:
    other = file.rename(file.parents[2] / f"away-{file.name}")
    file.symlink_to(other if draw.random() < 0.7 else "nowhere")


def into_folder(draw: random.Random, file: Path) -> None:
    file.unlink()
    file.mkdir()


def noise(draw: random.Random, file: Path) -> None:
    file.write_bytes(draw.randbytes(draw.choice((1, 100, 3000))))


def nested(draw: random.Random, file: Path) -> None:
    depth = draw.choice((50, 400, 900, 100_000))
    file.write_bytes(b"[" * depth + b"]" * depth if draw.random() < 0.5 else b'{"a":' * depth + b"1" + b"}" * depth)


def forge_json(draw: random.Random, file: Path) -> None:
    """Another value somewhere, written as db3 writes it."""
    content = _forged(draw, json.loads(file.read_text(encoding="utf-8")))
    file.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def forge_array(draw: random.Random, file: Path) -> None:
    """Another header before the same numbers."""
    shape = draw.choice(("(4611686018427387904,)", "(-1,)", "()", "(2, 2**62)", "(0,)", "None", "(1, 'a')", "(True,)"))
    kind = draw.choice(("<i8", "|O", "<f4", "|u1", "|V9", "<U7", "x", "[('a', '<i8')]"))
    text = f"{{'descr': {kind!r}, 'fortran_order': {draw.choice((False, True, 3))}, 'shape': {shape}, }}"
    text = draw.choice((text, text, "[" * 3000, "{" + "1:" * 99, "x", "{}"))
    version = draw.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    long = struct.pack("<H", len(text) + 1) if version[0] == 1 else struct.pack("<I", len(text) + 1)
    file.write_bytes(b"\x93NUMPY" + version + long + text.encode() + b"\n" + file.read_bytes()[128:])


def forge_header(draw: random.Random, file: Path) -> None:
    """Another header, its checks and those of all that follows in its piece made to fit."""

    def forged(header: bytes) -> bytes:
        if draw.random() < 0.2:
            return draw.choice((b"", b"[]", b"null", b"{", b"\xff", b"7", b"[" * 10**5, b'{"classes": 1e999}', b"{}"))
        return json.dumps(_forged(draw, json.loads(header)), sort_keys=True, separators=(",", ":")).encode()

    _rewrite(draw, file, forged, lambda payload: payload)


def forge_snapshot(draw: random.Random, file: Path) -> None:
    """Other counts or columns, well checked."""

    def forged(payload: bytes) -> bytes:
        counts = list(_SNAPSHOT.unpack_from(payload))
        body = bytearray(payload[_SNAPSHOT.size :])
        if draw.random() < 0.6:
            counts[draw.randrange(4)] = draw.choice((0, 1, 2, 255, 17))
            if draw.random() < 0.5:
                counts[draw.randrange(3)] = draw.choice((0, 1, 999_999, 2**31, 2**62, 2**63, 2**64 - 1))
        elif body:
            body[draw.randrange(len(body))] = draw.choice((0, 1, 9, 10, 250, 255))
        if draw.random() < 0.1:
            body = body[: draw.randrange(len(body) + 1)]
        return _SNAPSHOT.pack(*counts) + bytes(body)

    _rewrite(draw, file, lambda header: header, forged)


def _rewrite(draw: random.Random, file: Path, header: Callable[[bytes], bytes], body: Callable[[bytes], bytes]) -> None:
    """One of its pieces changed, or all alike, and now and then in another order."""
    pieces = _pieces(file.read_bytes())
    chosen = draw.randrange(len(pieces)) if draw.random() < 0.7 else None
    written = [
        sealed(header(told), body(payload)) if chosen in (None, place) else sealed(told, payload)
        for place, (told, payload) in enumerate(pieces)
    ]
    if draw.random() < 0.1:
        draw.shuffle(written)
    file.write_bytes(b"".join(written))


def sealed(header: bytes, payload: bytes) -> bytes:
    """A piece whose checks are right, whatever it says."""
    first, check = record(HEADER, header, b"")
    return MAGIC + first + record(SNAPSHOT, payload, check)[0]


def forge_first(file: Path, *, sent: int | None = None, **fields: Any) -> None:
    """The first piece of a journal with another count of what was sent, or other fields; None: without the field."""
    (header, payload), *others = _pieces(file.read_bytes())
    calls, count, told, voted = _SNAPSHOT.unpack_from(payload)
    head = _SNAPSHOT.pack(calls, count, told if sent is None else sent, voted)
    said = {name: value for name, value in {**json.loads(header), **fields}.items() if value is not None}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    pieces = [sealed(text, head + payload[_SNAPSHOT.size :]), *(sealed(*other) for other in others)]
    file.write_bytes(b"".join(pieces))


def _pieces(data: bytes) -> list[tuple[bytes, bytes]]:
    """Header and snapshot of each piece."""
    found, place = [], 0
    while place < len(data):
        place += len(MAGIC)
        payloads = []
        for _ in range(2):
            length = _HEAD.unpack_from(data, place)[2]
            payloads.append(data[place + _HEAD.size : place + _HEAD.size + length])
            place += _HEAD.size + length + 8
        found.append((payloads[0], payloads[1]))
    return found


def _forged(draw: random.Random, value: Any) -> Any:
    """The value with one thing in it replaced, left out or added."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        name = draw.choice(sorted(value))
        kind = draw.random()
        if kind < 0.15:
            return {other: inner for other, inner in value.items() if other != name}
        if kind < 0.3:
            return {**value, draw.choice(("more", "spent", "whole", "arithmetic", "é")): draw.choice(STRANGE)}
        return {**value, name: _forged(draw, value[name])}
    if isinstance(value, list) and value and draw.random() < 0.8:
        place = draw.randrange(len(value))
        return [*value[:place], _forged(draw, value[place]), *value[place + 1 :]]
    if isinstance(value, int) and draw.random() < 0.4:
        return value + draw.choice((1, -1, 2**40))
    return draw.choice(STRANGE)
