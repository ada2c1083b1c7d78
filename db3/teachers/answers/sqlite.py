"""The store of answers in one SQLite file: the default, for all processes of one machine."""

import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from db3.errors import DataError, one_line
from db3.teachers.answers.database import TABLES, VERSION, Connection

_APPLICATION = 0x64623361  # "db3a": SQLite keeps it in the file's header, as it does the version
_PATIENCE = 60.0  # seconds that a writer waits for the others
_IN = 500  # keys of one look-up
# File systems of other machines, where SQLite's locks and its shared memory are not to be trusted.
_REMOTE = re.compile(r"afs|beegfs|ceph|cifs|fuse\.(ceph|glusterfs|s3fs|sshfs)|gpfs|lustre|nfs4?|smb3|smbfs")
_REMEDIES = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space, then run again; what it holds is not sent twice",
    sqlite3.SQLITE_READONLY: "it may not be written: correct its rights, or set runtime.answers to another place",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: correct the path or its rights, or set runtime.answers to another",
    sqlite3.SQLITE_PERM: "it may not be written: correct its rights, or set runtime.answers to another place",
    sqlite3.SQLITE_BUSY: f"another process held it for {_PATIENCE:g} s: wait until that ends, or end it",
    sqlite3.SQLITE_CORRUPT: "it is damaged: restore it from a copy, or keep all that is whole with "
    "`db3 answers repair`",
    sqlite3.SQLITE_NOTADB: "it is damaged, or no store of answers: restore it from a copy, or delete it",
    sqlite3.SQLITE_IOERR: "the disk does not read or write it: check the disk and its space, then run again",
}


class SqliteDatabase:
    """A file in WAL mode: readers wait for nobody, writers for each other, and a kill leaves whole commits only.

    Args:
        path: of the file; beside it lie `-wal` and `-shm` while it is open.

    Raises:
        DataError: it lies on a network file system, is of a newer version, or none of ours. (At the first use.)
    """

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._path, self._lock = path, threading.RLock()
        self._opened: sqlite3.Connection | None = None
        self._process, self._file, self._durable = 0, 0, False

    def __del__(self) -> None:
        if hasattr(self, "_opened"):  # Python >= 3.13 warns of connections that nobody closed
            self.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._lock, self._told():
            yield _Connection(self._connection())

    @contextmanager
    def writing(self, teacher: int | None, durable: bool = False) -> Iterator[Connection]:  # noqa: ARG002 - one file
        with self._lock, self._told():
            connection = self._connection()
            if durable != self._durable:
                connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield _Connection(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # some errors have undone it already
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise

    def find_damage(self) -> Iterable[str]:
        with self.reading() as connection:
            told = [str(row[0]) for row in connection.rows("PRAGMA integrity_check(20)")]
        return [] if told == ["ok"] else [f"{self.where}: {one_line(line)}" for line in told]

    def close(self) -> None:
        with self._lock:
            if self._opened is not None and self._process == os.getpid():
                self._opened.close()
            self._opened = None

    def _connection(self) -> sqlite3.Connection:
        if self._opened is None or self._process != os.getpid() or self._file != self._inode():
            self.close()  # a connection does not survive a fork, and is of no use once its file is taken away
            self._opened, self._process, self._durable = self._open(), os.getpid(), False
            self._file = self._inode()
        return self._opened

    def _inode(self) -> int:
        try:
            return self._path.stat().st_ino
        except OSError:
            return -1

    def _open(self) -> sqlite3.Connection:
        refuse_remote(self._path)
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        _require_ours(connection, self.where)
        end = time.monotonic() + _PATIENCE
        while True:  # the change to WAL does not wait for others by itself
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
                time.sleep(0.01)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -65536")  # KiB
        connection.execute("PRAGMA wal_autocheckpoint = 8192")  # pages: a checkpoint waits for the disk twice
        if connection.execute("PRAGMA user_version").fetchone()[0]:
            return
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            for table in TABLES:
                rest = " WITHOUT ROWID" if "db3_answers" in table else ""
                connection.execute(table.format(bytes="BLOB") + rest)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:  # damage in a name or a message
            raise DataError(f"cannot use {self.where}: {_REMEDIES[sqlite3.SQLITE_CORRUPT]}") from error
        except sqlite3.Error as error:
            remedy = _REMEDIES.get(_code(error), "see `db3 answers check`, or set runtime.answers to another place")
            raise DataError(f"cannot use {self.where} ({one_line(error)}): {remedy}") from error


class _Connection:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, **values: Any) -> Sequence[Any]:
        return self._connection.execute(sql, values).fetchall()

    def many(self, sql: str, values: Sequence[Mapping[str, Any]]) -> None:
        self._connection.executemany(sql, values)

    def find(self, teacher: int, images: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
        for start in range(0, len(images), _IN):
            part = images[start : start + _IN]
            marks = ",".join("?" * len(part))
            sql = f"SELECT image, votes FROM db3_answers WHERE teacher = ? AND image IN ({marks})"
            yield from self._connection.execute(sql, (teacher, *part)).fetchall()


def refuse_remote(path: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Refuse a file on another machine's disk, where that can be seen (Linux).

    Raises:
        DataError: its file system is one of a network.
    """
    if not mounts.is_file():
        return
    place, found = path.resolve(), (0, "")
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        _, folder, kind, *_ = line.split(" ")
        if place.is_relative_to(folder.replace("\\040", " ")):
            found = max(found, (len(folder), kind))
    if _REMOTE.fullmatch(found[1]):
        raise DataError(
            f"{path} lies on a network file system ({found[1]}), where SQLite cannot keep several machines apart: set "
            "runtime.answers to a file on this machine's disk, or to postgresql://HOST/DATABASE"
        )


def _require_ours(connection: sqlite3.Connection, where: str) -> None:
    connection.execute("BEGIN")  # one state of the file: another process may be making it just now
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    tables = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
    connection.execute("COMMIT")
    if application != _APPLICATION and (application or version or tables):
        raise DataError(f"{where} is a database of something else: set runtime.answers to another file")
    if version > VERSION:
        raise DataError(
            f"{where} is a store of answers of version {version}; this db3 knows {VERSION}: update db3, or set "
            "runtime.answers to another file"
        )


def _code(error: sqlite3.Error) -> int:
    """The primary code: extended ones hold it in their lowest byte."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
