"""Claims: which images somebody is asking about at this moment, so that nobody else sends them too.

A claim ends with the ask it was made for; with the process that made it, where that ran on this machine; and where
nothing came back for `LEASE` seconds. It saves money and decides no answer: of two who should send the same image all
the same, both answers are kept.
"""

import itertools
import os
import socket
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from db3.teachers.answers.database import KEY, Connection

LEASE = 120  # seconds
_numbers = itertools.count()


def name_owner() -> str:
    """A name that no other asker has: machine, process, and a number within it."""
    return f"{_machine()} {os.getpid()} {next(_numbers)}"


def claim(connection: Connection, teacher: int, owner: str, images: Collection[bytes]) -> None:
    """Claim images, or nothing any more where there are none; within a writing transaction."""
    connection.many(
        "DELETE FROM db3_claims WHERE teacher = :teacher AND owner = :owner", [{"teacher": teacher, "owner": owner}]
    )
    if images:
        values = {"teacher": teacher, "owner": owner, "until": int(time.time()) + LEASE, "images": b"".join(images)}
        connection.many("INSERT INTO db3_claims VALUES (:teacher, :owner, :until, :images)", [values])


def prolong(connection: Connection, teacher: int, owner: str) -> None:
    """Something came back: the claim holds for another `LEASE` seconds."""
    connection.many(
        "UPDATE db3_claims SET until = :until WHERE teacher = :teacher AND owner = :owner",
        [{"teacher": teacher, "owner": owner, "until": int(time.time()) + LEASE}],
    )


def claimed_by_others(connection: Connection, teacher: int, owner: str) -> set[bytes]:
    """Images that others are asking about; claims that nobody holds any more are deleted."""
    held = set[bytes]()
    rows = connection.rows(
        "SELECT owner, until, images FROM db3_claims WHERE teacher = :teacher AND owner <> :owner",
        teacher=teacher,
        owner=owner,
    )
    for other, until, images in rows:
        if until < time.time() or _is_gone(other):
            claim(connection, teacher, other, ())
        else:
            held.update(images[place : place + KEY] for place in range(0, len(images), KEY))
    return held


def _is_gone(owner: str) -> bool:
    machine, process, _ = owner.rsplit(" ", 2)
    if machine != _machine() or os.name != "posix":  # elsewhere a signal 0 is no question
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's
        return False
    return False


def _machine() -> str:
    """Host and, in containers, the name space in which process numbers mean something."""
    space = ""
    with suppress(OSError):
        space = str(Path("/proc/self/ns/pid").readlink())
    return f"{socket.gethostname()[:100]} {space}"
