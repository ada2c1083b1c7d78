"""A damaged store of answers in a file: every answer that is whole is kept, wherever in the file it lies.

A row bears a check over teacher, image and answers (`db3.teachers.answers.store`), so rows are looked for byte by
byte, in the file and in its write-ahead log, whatever has become of the tree that held them: what passes the check was
written by this library. Only the names of the teachers have to be readable.

Source of the row's form: "Database File Format" (SQLite), 2.1, record format: the header's length, a serial type of
each column, then the columns.
"""

import mmap
import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from db3.errors import ConfigError, DataError
from db3.teachers.answers.database import KEY
from db3.teachers.answers.sqlite import SqliteDatabase
from db3.teachers.answers.store import CHECK, Account, AnswerStore, seal, seed_of

_TEACHER = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}  # bytes of an integer by its serial type
_BLOB = 12  # the serial type of n bytes is 12 + 2n
# Header of a row (teacher, image, answers): the last type takes one byte or two.
_HEADER = re.compile(
    rb"(?=(?:\x04([\x01-\x06\x08\x09])" + bytes([_BLOB + 2 * KEY]) + rb"([\x16-\x7e])"
    rb"|\x05([\x01-\x06\x08\x09])" + bytes([_BLOB + 2 * KEY]) + rb"([\x81-\xff][\x00-\x7f])))"
)
_PAGE = 10_000  # rows written at once


@dataclass
class Repaired:
    """What became of a damaged store.

    Attributes:
        images: with answers, in the store that took its place.
        damaged: where the file now lies.
    """

    images: int
    damaged: Path


def repair_answers(path: Path) -> Repaired:
    """Write a new store of all that is whole in a damaged one, and put it in its place; nothing else may use it then.

    Args:
        path: of the file. It stays beside the new one, its name followed by `.damaged`.

    Raises:
        ConfigError: a file of that name is there already.
        DataError: the teachers' names cannot be read, or the disk cannot be written.
    """
    broken, fresh = (path.with_name(f"{path.name}.{word}") for word in ("damaged", "repaired"))
    if broken.exists():
        raise ConfigError(f"{broken} is there from an earlier repair: move it away, or delete it")
    for copy in (fresh, *_beside(fresh)):
        copy.unlink(missing_ok=True)
    try:
        for one, copy in zip((path, *_beside(path)), (broken, *_beside(broken)), strict=True):
            if one.exists():
                shutil.copyfile(one, copy)
        accounts = _accounts(path)
        repaired = _write(fresh, broken, accounts)
        for one in _beside(path):
            one.unlink(missing_ok=True)
        fresh.replace(path)
    except BaseException as error:
        for copy in (broken, *_beside(broken), fresh, *_beside(fresh)):
            copy.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise DataError(f"{path} cannot be repaired ({error.strerror}): free some space, then try again") from error
        raise
    return repaired


def _beside(path: Path) -> tuple[Path, ...]:
    """SQLite's files beside it."""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _accounts(path: Path) -> dict[Account, tuple[int, int]]:
    """Images sent and answered on each account; a teacher without one has one of the empty scope."""
    database = SqliteDatabase(path)
    try:
        with database.reading() as connection:
            teachers = connection.rows("SELECT id, identity, classes, name FROM db3_teachers")
            booked = {}
            with suppress(sqlite3.Error):  # a tree of its own: what was sent may be lost where the names are not
                booked = {
                    (row[0], row[1]): (int(row[2]), int(row[3]))
                    for row in connection.rows("SELECT teacher, scope, sent, answered FROM db3_accounts")
                }
        found: dict[Account, tuple[int, int]] = {}
        for number, identity, classes, name in teachers:
            own = {scope: counts for (teacher, scope), counts in booked.items() if teacher == number} or {"": (0, 0)}
            found |= {Account(identity, int(classes), name, scope): counts for scope, counts in own.items()}
    except DataError as error:
        raise DataError(f"{error}. Its teachers' names cannot be read, so nothing can be saved") from error
    finally:
        database.close()
    return found


def _write(fresh: Path, broken: Path, accounts: Mapping[Account, tuple[int, int]]) -> Repaired:
    store = AnswerStore(SqliteDatabase(fresh))
    by_identity = {account.teacher: account for account in accounts}
    seeds = {identity: seed_of(identity) for identity in by_identity}
    try:
        for account, (sent, answered) in accounts.items():
            store.book(account, sent, answered)
        for identity, page in _pages(_whole_rows(broken, seeds)):
            store.merge(by_identity[identity], page.items())
        images = sum(entry.images for entry in store.entries())
    finally:
        store.close()
    return Repaired(images, broken)


Row = tuple[str, bytes, bytes]
"""Identity of the teacher, image, answers."""


def _pages(rows: Iterator[Row]) -> Iterator[tuple[str, dict[bytes, bytes]]]:
    """Rows of a teacher, some at once; of an image that is there twice the longer answers."""
    pages: dict[str, dict[bytes, bytes]] = {}
    for identity, image, votes in rows:
        page = pages.setdefault(identity, {})
        page[image] = max(page.get(image, b""), votes, key=len)
        if len(page) == _PAGE:
            yield identity, pages.pop(identity)
    yield from pages.items()


def _whole_rows(path: Path, seeds: Mapping[str, int]) -> Iterator[Row]:
    """Every row of the file and of its log that passes its check."""
    for one in (path, _beside(path)[0]):
        if one.is_file() and one.stat().st_size:
            with one.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                for header in _HEADER.finditer(data):
                    yield from _row(data, header, seeds)


def _row(data: mmap.mmap, header: "re.Match[bytes]", seeds: Mapping[str, int]) -> Iterator[Row]:
    """The row of that header, if one begins there."""
    place = header.start()
    kind, last = next(pair for pair in (header.groups()[:2], header.groups()[2:]) if pair[0] is not None)
    size = last[0] if len(last) == 1 else (last[0] & 0x7F) << 7 | last[1]
    length, odd = divmod(size - _BLOB, 2)
    begin = place + 3 + len(last) + _TEACHER[kind[0]]
    image, row = data[begin : begin + KEY], data[begin + KEY : begin + KEY + length]
    votes = row[:-CHECK]
    if odd or not votes or len(row) < length:
        return
    for identity, seed in seeds.items():
        if row == seal(seed, image, votes):
            yield identity, image, votes
            return
