"""Where the store of answers is: one for a workspace, whoever works in it and wherever a copy of it runs."""

import atexit
import os
import threading
from functools import partial
from pathlib import Path

from db3.teachers.answers.database import Database
from db3.teachers.answers.store import AnswerStore

FILE = Path(".db3/answers.sqlite")


def main_workspace(folder: Path) -> Path:
    """The workspace that a folder is, or is a temporary copy of: DVC runs queued experiments in `.dvc/tmp/exps/…`."""
    folder = folder.resolve()
    for parent in folder.parents:
        if parent.parts[-3:] == (".dvc", "tmp", "exps"):
            return parent.parents[2]
    return folder


def resolve_place(answers: str, folder: Path) -> str:
    """The address or the absolute path that `runtime.answers` means to whoever works in `folder`; `auto`: the default.

    Args:
        answers: `auto`, a path (seen from the main workspace) or an address `DIALECT://…`.
        folder: the current one; in a copy for an experiment the main workspace's store is meant.
    """
    if "://" in answers:
        return answers
    return os.fspath(main_workspace(folder) / (FILE if answers == "auto" else Path(answers).expanduser()))


def open_answers(where: str | Path = "auto") -> AnswerStore:
    """The store of answers at a path or an address, made where there is none; one for all threads of a process.

    Args:
        where: as `runtime.answers`: a path, `postgresql://USER@HOST/DATABASE`, or `auto` for `.db3/answers.sqlite`.

    Raises:
        ConfigError: the address holds a password or cannot be read, or its packages are not installed.
    """
    place = resolve_place(os.fspath(where), Path.cwd())
    with _GUARD:
        key = place, os.getpid()  # connections do not survive a fork
        if key not in _OPEN:
            _OPEN[key] = AnswerStore(_database(place), partial(open_answers, place))
        return _OPEN[key]


@atexit.register
def close_answers() -> None:
    """Close every store that this process has opened; the next `open_answers` opens it again."""
    with _GUARD:
        for (_, process), store in list(_OPEN.items()):
            if process == os.getpid():
                store.close()
        _OPEN.clear()


_GUARD = threading.Lock()
_OPEN: dict[tuple[str, int], AnswerStore] = {}


def _database(place: str) -> Database:
    if "://" in place:
        from db3.teachers.answers.sql import SqlDatabase

        return SqlDatabase(place)
    from db3.teachers.answers.sqlite import SqliteDatabase

    return SqliteDatabase(Path(place))
