"""A PostgreSQL server of the tests' own, from Debian's packages, on 127.0.0.1."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from db3.teachers.answers.place import close_answers

_BINARIES = Path("/usr/lib/postgresql")
_numbers = count()


def _postgres() -> Path:
    """The folder of initdb and postgres, where there is one."""
    pytest.importorskip("psycopg", reason="needs the extra `postgres`")
    pytest.importorskip("sqlalchemy", reason="needs the extra `postgres`")
    found = sorted(_BINARIES.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    here = shutil.which("initdb")
    if not found and not here:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    return found[-1].parent if found else Path(str(here)).parent


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_answers()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a running server, without a database: postgresql://postgres@127.0.0.1:PORT."""
    binaries = _postgres()
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses root
        try:
            user = pwd.getpwnam("postgres").pw_uid
        except KeyError:
            pytest.skip("needs a user `postgres`: PostgreSQL does not run as root")
    folder = Path(tempfile.mkdtemp(prefix="db3-postgres-"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        data = folder / "data"
        command = [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(command, cwd="/", user=user, check=True, capture_output=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -p {port}"
        control = [binaries / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
        subprocess.run([*control, "-o", options, "start"], cwd="/", user=user, check=True, stdout=subprocess.DEVNULL)
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}"
        finally:
            subprocess.run(
                [*control, "-m", "immediate", "stop"], cwd="/", user=user, check=True, stdout=subprocess.DEVNULL
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(postgres: str) -> str:
    """Address of an empty database."""
    import psycopg

    name = f"answers{next(_numbers)}"
    with psycopg.connect(f"{postgres}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    return f"{postgres}/{name}"
