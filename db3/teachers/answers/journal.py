"""The journal: every answer, on the disk before the next one is asked for.

It stores answers, not images: a search is a function of (seed, sample, answers so far), so the answers rebuild
everything. One journal belongs to one piece of work (a shard, say), named by the digest of all that decides
it, and lies in a folder of that name while the work goes on:

    ROOT/KEY/journal     what `db3.teachers.answers.recording` describes
    ROOT/KEY/lock        held by the process that writes it

Every answered call is appended and handed to the operating system at once, so no death of the process loses it; a
thread of its own then brings it onto the disk (fsync), while the next call is already asked: a power cut loses one call
more than that in flight.
"""

import errno
import fcntl
import os
import shutil
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from db3.errors import DataError
from db3.files import write_bytes
from db3.teachers.answers.recording import (
    PART,
    SENT,
    TICK,
    Part,
    Recording,
    empty,
    opening,
    part_payload,
    read_growing,
    record,
    sent_payload,
    tick_payload,
    whole,
)

FILE, LOCK = "journal", "lock"


class Journal:
    """The open journal of one piece of work; use it as a context manager.

    Opening one that is there already rewrites it as one snapshot, without what a dying machine left of a record.

    Args:
        folder: of this journal alone.
        header: `classes`, and what else tells whose answers these are; that of an older journal here must be the same.
        durable: `note` returns only when the disk holds it: where money is limited, a power cut must not hide a call.

    Attributes:
        path: of the file.
        recording: what was in it when it was opened.
        sent: images that were about to be sent, all runs together.
        votes: answers to single images that the decisions it holds were made of.

    Raises:
        DataError: another process works on it, it belongs to something else, or it is damaged.
    """

    def __init__(self, folder: Path, header: dict[str, Any], durable: bool = False) -> None:
        self.path = folder / FILE
        self._header, self._durable = header, durable
        self._guard = threading.Lock()
        self._lock = _locked(folder / LOCK)
        try:
            self.recording, self._end = self._begin()
            self.sent, self.votes = self.recording.sent, self.recording.total_votes
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        except BaseException:
            os.close(self._lock)
            raise
        self._disk = ThreadPoolExecutor(1, "journal")
        self._synced: Future[None] | None = None

    def _begin(self) -> tuple[Recording, bytes]:
        recording = read(self.path) if self.path.exists() else empty(self._header)
        found = {name: value for name, value in recording.header.items() if name != "whole"}
        if found != self._header:
            name = next(name for name in {**found, **self._header} if found.get(name) != self._header.get(name))
            raise DataError(
                f"{self.path} is of {name} {found.get(name)!r}, but this work of {self._header.get(name)!r}: "
                "delete it if its answers are of no use any more"
            )
        recording = replace(recording, header=self._header)
        data = whole(recording) if len(recording.sizes) or recording.sent else opening(self._header)[0]
        if recording.part:
            data += record(PART, part_payload(recording.part, self._header["classes"]), data[-8:])[0]
        write_bytes(self.path, data)
        return recording, data[-8:]

    def note(self, count: int) -> None:
        """Write down that `count` images are about to be sent; called from whatever thread sends them."""
        with self._guard:
            self._append(SENT, sent_payload(count))
            self.sent += count
            if self._durable:
                os.fsync(self._file)

    def append(self, digest: int, votes: tuple[int, int, int], answers: Shaped[np.ndarray, " n"]) -> None:
        """Write down one answered call."""
        with self._guard:
            self._append(TICK, tick_payload(digest, votes, answers, self._header["classes"]))
            self.votes += votes[0]
            self._await_disk()
            self._synced = self._disk.submit(os.fsync, self._file)

    def keep(self, digest: int, known: Bool[np.ndarray, " n"], answers: Shaped[np.ndarray, " a"]) -> None:
        """Write down what was answered of a call that failed; `answers` are those of the images `known`."""
        with self._guard:
            self._append(PART, part_payload(Part(digest, known, answers), self._header["classes"]))
            self._await_disk()
            self._synced = self._disk.submit(os.fsync, self._file)

    def sealed(self, header: dict[str, Any]) -> bytes:
        """All that it holds as one snapshot under another header, read back from the file.

        Nothing of it depends on how often the work was interrupted: `sent` is then the votes alone.
        """
        with self._guard:
            self._await_disk()
        recording = read(self.path)
        return whole(replace(recording, header=header, sent=recording.total_votes))

    def close(self) -> None:
        try:
            self._await_disk()
        finally:
            self._disk.shutdown()
            os.close(self._file)
            os.close(self._lock)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, kind: int, payload: bytes) -> None:
        data, self._end = record(kind, payload, self._end)
        try:
            while data:  # a full disk may take a part
                data = data[os.write(self._file, data) :]
        except OSError as error:
            raise _unwritten(self.path, error) from error

    def _await_disk(self) -> None:
        if self._synced:
            try:
                self._synced.result()
            except OSError as error:
                raise _unwritten(self.path, error) from error


def read(path: Path) -> Recording:
    """What an open journal holds; the torn end of a dying machine's last record is left out.

    Raises:
        DataError: there is none, it is damaged, or of another version.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return read_growing(data, path)[0]


def discard(folder: Path) -> None:
    """Remove a journal whose answers lie elsewhere now; one that another process holds is left alone."""
    if folder.exists():
        try:
            lock = _locked(folder / LOCK)
        except DataError:
            return
        try:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _locked(path: Path) -> int:
    """Hold the lock file; it is free again when its handle is closed, or its process ends in any way."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # its folder was discarded just now
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(handle).st_ino:
                return handle
        except OSError as error:
            os.close(handle)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise DataError(
                    f"another process is asking the teacher for {path.parent}: wait until it ends, or end it"
                ) from None
            raise
        os.close(handle)


def _unwritten(path: Path, error: OSError) -> DataError:
    return DataError(
        f"cannot write {path}: {error.strerror or error}; free some space or check the rights, then run again: "
        "what it holds is not sent twice"
    )
