"""One run at a time in a workspace, and none that outlives whoever began it.

A stage holds `.db3/stage.lock` while it works, the pipeline `.db3/run.lock` from its first stage to its last. Both are
locks of the operating system on an open file: whatever ends a process ends its lock, so none is ever stale. DVC has
locks of its own, but a killed `dvc` leaves its stage at work without one, and params.yaml is not behind any.
"""

import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from db3.errors import Db3Error

FOLDER = Path(".db3")
_ELSEWHERE = {
    "--queue",
    "--temp",
    "--run-all",
    "queue-worker",
    "show",
    "list",
}  # `dvc exp …` that leaves this folder alone
GRACE = 5.0  # seconds that an orphan gets to end by itself


class BusyError(Db3Error):
    """Another run is at work in this folder."""


@contextmanager
def hold_lock(what: str, lock: str) -> Iterator[None]:
    """Hold a lock of this workspace, "run" or "stage".

    Raises:
        BusyError: another process holds it; the line names it.
        Db3Error: the folder cannot be written.
    """
    with _open_lock(lock) as file:
        _acquire(file, what)
        file.truncate(0)
        file.write(json.dumps({"what": what, "pid": os.getpid()}))
        file.flush()
        yield


def require_idle(what: str) -> None:
    """Check that nothing is at work here: params.yaml may not change under a running stage.

    Args:
        what: has to wait.

    Raises:
        BusyError: one line that names the run.
        Db3Error: the folder cannot be written.
    """
    for lock in ("run", "stage"):
        with _open_lock(lock) as file:
            _acquire(file, what)
    if (pid := _find_repro()) is not None:  # between two stages it holds no lock of ours
        raise _busy(what, f"`dvc repro` (process {pid})")


def _find_repro() -> int | None:
    """A process of this user that brings this folder's stages up to date."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            here = {"repro", "exp"} & set(words[1:5]) and not _ELSEWHERE & set(words)
            if here and _is_dvc(process) and process.cwd() == str(Path.cwd()):
                return int(process.pid)
    return None


def _open_lock(lock: str) -> IO[str]:
    path = FOLDER / f"{lock}.lock"
    try:
        FOLDER.mkdir(exist_ok=True)
        return path.open("a+", encoding="utf-8")
    except OSError as error:
        raise Db3Error(
            f"cannot write {path} ({error.strerror}): a run writes into this folder; make it writable or work in a copy"
        ) from error


def _acquire(file: IO[str], what: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _busy(what, _read_holder(file)) from None


def _busy(what: str, holder: str) -> BusyError:
    return BusyError(f"{what}: {holder} is at work in this folder; wait until it ends, or end it")


def _read_holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        holder = json.load(file)
        return f"{holder['what']} (process {holder['pid']})"
    except (ValueError, KeyError, TypeError):
        return "another run"


def end_with_processes(watched: Sequence[int]) -> None:
    """Interrupt this process as soon as one of these processes is gone, however it ended."""
    starts = {pid: _start_time(pid) for pid in watched}
    if starts:
        threading.Thread(
            target=_watch,
            args=(lambda: all(_start_time(pid) == start for pid, start in starts.items()),),
            daemon=True,
            name="end-with-processes",
        ).start()


def find_callers() -> list[int]:
    """The processes from this one's parent up to `dvc`, or up to the pipeline that started it (DB3_RUN); none when the
    stage was started by hand, whose shell may go away (`nohup`).
    """
    if "DVC_STAGE" not in os.environ:
        return []
    parents = psutil.Process().parents()
    last = [
        number
        for number, parent in enumerate(parents)
        if str(parent.pid) == os.environ.get("DB3_RUN") or _is_dvc(parent)
    ]
    return [parent.pid for parent in parents[: last[-1] + 1]] if last else []


def _is_dvc(process: psutil.Process) -> bool:
    try:
        return any(Path(word).name in {"dvc", "dvc.exe"} for word in process.cmdline()[:4])
    except psutil.Error:
        return False


def _start_time(pid: int) -> float | None:
    """When a process began; None when there is none, or it has ended and waits for its parent to notice."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def _watch(all_is_well: Callable[[], bool]) -> None:
    while all_is_well():
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE)
    with suppress(OSError):  # whoever read this may be gone too
        print("interrupted: whoever started this run is gone; finished shards are kept", file=sys.stderr, flush=True)
    os._exit(130)
