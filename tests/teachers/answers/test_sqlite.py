"""The store in a SQLite file: what the disk, the file system and strangers may do to it is told in one line."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from db3.errors import ConfigError, DataError
from db3.teachers.answers.place import main_workspace, open_answers, resolve_place
from db3.teachers.answers.repair import repair_answers
from db3.teachers.answers.sqlite import _APPLICATION, SqliteDatabase, _require_ours, refuse_remote
from db3.teachers.answers.store import AnswerStore
from tests.contracts.answer_store import ACCOUNT, AnswerStoreContract, image


class TestSqlite(AnswerStoreContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> str:
        return str(tmp_path / "answers.sqlite")


def opened(path: Path) -> AnswerStore:
    return AnswerStore(SqliteDatabase(path))


def filled(path: Path, images: int = 2000) -> None:
    store = opened(path)
    store.commit(ACCOUNT, {image(number): bytes([number % 10]) for number in range(images)}, sent=images)
    store.close()


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as raised:
        opened(path).commit(ACCOUNT, {image(1): b"\x01"})
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_newer_version_and_another_database_are_refused(tmp_path: Path) -> None:
    filled(tmp_path / "newer")
    for file, sql in (("newer", "PRAGMA user_version = 2"), ("other", "CREATE TABLE songs (name TEXT)")):
        connection = sqlite3.connect(tmp_path / file)
        connection.execute(sql)
        connection.commit()
        connection.close()
    assert "is a store of answers of version 2; this db3 knows 1: update db3" in refusal(tmp_path / "newer")
    assert "is a database of something else: set runtime.answers to another file" in refusal(tmp_path / "other")
    (tmp_path / "text").write_text("no database at all\n" * 100)
    assert "it is damaged, or no store of answers" in refusal(tmp_path / "text")


def test_a_store_that_another_process_makes_meanwhile_is_no_stranger(tmp_path: Path) -> None:
    """Its tables appear between the look at whose file it is and the look at these, as far as SQLite lets them."""
    filled(tmp_path / "made", 1)
    with closing(sqlite3.connect(tmp_path / "made")) as made:
        script = [*made.iterdump(), f"PRAGMA application_id = {_APPLICATION};"]
    connection, other = (sqlite3.connect(tmp_path / "new", timeout=0, isolation_level=None) for _ in range(2))

    def make_it(sql: str) -> None:
        if "sqlite_master" in sql:
            with suppress(sqlite3.OperationalError):  # «database is locked»
                other.executescript("\n".join(script))
            other.rollback()

    connection.set_trace_callback(make_it)
    _require_ours(connection, "new")
    connection.set_trace_callback(None)
    other.execute("CREATE TABLE songs (name TEXT)")  # and is free again
    with pytest.raises(DataError, match="something else"):
        _require_ours(connection, "new")
    connection.close()
    other.close()


def test_a_place_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "it cannot be opened: correct the path or its rights" in refusal(tmp_path / "file" / "answers.sqlite")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_file_without_the_right_to_write_is_told(open_folder: Path) -> None:
    """In a process that is not root, whom no file refuses."""
    path = open_folder / "answers.sqlite"
    filled(path)
    path.chmod(0o444)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            opened(path).commit(ACCOUNT, {image(1): b"\x01"})
        except BaseException as error:  # told to the parent, whatever it is
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    told = os.read(reading, 1000).decode()
    assert told.startswith(f"DataError: cannot use {path}"), told
    assert "it may not be written: correct its rights" in told
    assert "\n" not in told


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    """SQLite's own limit of pages raises the very error of a full disk."""
    path = tmp_path / "answers.sqlite"
    filled(path)
    store = opened(path)
    with store._database.reading() as connection:
        pages = connection.rows("PRAGMA page_count")[0][0]
        connection.rows(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(DataError, match=r"the disk is full: free some space, then run again; what") as told:
        store.commit(ACCOUNT, {image(number): b"\x01" for number in range(10_000, 20_000)}, sent=5)
    assert "\n" not in str(told.value)
    with store._database.reading() as connection:
        connection.rows("PRAGMA max_page_count = 1000000")
    assert store.balance(ACCOUNT) == (2000, 2000)
    assert len(store.find(ACCOUNT, [image(number) for number in range(20_000)])) == 2000
    assert list(store.check()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk, as root")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    try:
        store = opened(tmp_path / "answers.sqlite")

        def fill() -> None:
            for start in range(0, 100_000, 500):
                store.commit(ACCOUNT, {image(start + place): b"\x01" for place in range(500)}, sent=500)

        with pytest.raises(DataError, match="the disk is full"):
            fill()
        sent, answered = store.balance(ACCOUNT)
        assert sent == answered > 0
        assert len(list(store.read(ACCOUNT.teacher))) == answered
        store.close()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_flipped_bytes_never_give_a_wrong_answer(tmp_path: Path) -> None:
    """Hundreds of damaged files, seeded: what is read is right, or refused; and the check finds what is wrong."""
    whole, path, draw = tmp_path / "whole", tmp_path / "broken", random.Random(0)  # noqa: S311 - a seed, no secret
    filled(whole, 3000)
    right = {image(number): bytes([number % 10]) for number in range(3000)}
    refused = found = lost = 0
    for _ in range(150):
        data = bytearray(whole.read_bytes())
        for _ in range(draw.choice([1, 4, 40])):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        store = opened(path)
        try:
            told = store.find(ACCOUNT, list(right))
        except DataError as error:
            refused += "\n" not in str(error)
        else:
            assert told.items() <= right.items()
            lost += len(told) < len(right)
        try:
            found += any(store.check())
        except DataError:
            found += 1
        store.close()
    assert refused > 40
    assert found > 100


def test_a_repair_keeps_every_answer_that_is_whole(tmp_path: Path) -> None:
    """As many damaged files: what is kept is right, and what is lost lay where the damage is."""
    whole, path, draw = tmp_path / "whole", tmp_path / "broken", random.Random(1)  # noqa: S311 - a seed, no secret
    filled(whole, 3000)
    right = {image(number): bytes([number % 10]) for number in range(3000)}
    repaired = lost = flips = 0
    for _ in range(40):
        data, count = bytearray(whole.read_bytes()), draw.choice([1, 4, 40])
        for _ in range(count):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        try:
            told = repair_answers(path)
        except DataError:  # where the teachers' names are
            assert path.read_bytes() == data
            continue
        store = opened(path)
        found = store.find(ACCOUNT, list(right))
        assert list(store.check()) == []
        assert found.items() <= right.items()
        assert len(found) == told.images
        store.close()
        assert told.damaged.read_bytes() == data
        told.damaged.unlink()
        repaired, flips, lost = repaired + 1, flips + count, lost + len(right) - len(found)
    assert repaired > 20
    assert lost <= flips


def test_a_repair_reads_the_log_too_and_leaves_its_account(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    store = opened(path)
    store.commit(ACCOUNT, {image(1): b"\x01"}, sent=3)
    store.commit(ACCOUNT, {image(1): b"\x02", image(2): bytes(range(10)) * 30})
    for name in (path.name, f"{path.name}-wal"):
        shutil.copyfile(tmp_path / name, tmp_path / f"copy{name.removeprefix(path.name)}")
    store.close()
    copy = tmp_path / "copy"
    assert repair_answers(copy).images == 2
    again = opened(copy)
    assert again.find(ACCOUNT, [image(1), image(2)]) == {image(1): b"\x01\x02", image(2): bytes(range(10)) * 30}
    assert again.balance(ACCOUNT) == (3, 302)
    again.close()
    with pytest.raises(ConfigError, match="from an earlier repair"):
        repair_answers(copy)


KILLED = """
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from db3.teachers.answers.repair import repair_answers
from db3.teachers.answers.sqlite import SqliteDatabase
from db3.teachers.answers.store import Account, AnswerStore
store, number = AnswerStore(SqliteDatabase(Path(sys.argv[1]))), int(sys.argv[2])
account = Account("a" * 64, 10, "", "scope")
while True:
    store.commit(account, sent=1)
    store.commit(account, {number.to_bytes(16, "big"): bytes([number % 10])})
    print(number, flush=True)
    number += 1
"""


def test_killed_at_random_moments_it_has_what_it_told(tmp_path: Path) -> None:
    path, draw, told = tmp_path / "answers.sqlite", random.Random(3), 0  # noqa: S311 - a seed, no secret
    kills = 4
    for kill in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path), str(1000 * kill)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        for _ in range(draw.randrange(1, 60)):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        lines, _ = process.communicate()
        told = max([1000 * kill, *map(int, lines.split())])
        assert opened(path).find(ACCOUNT, [image(told)]) == {image(told): bytes([told % 10])}
    store = opened(path)
    sent, answered = store.balance(ACCOUNT)
    assert answered == len(list(store.read(ACCOUNT.teacher)))
    assert 0 <= sent - answered <= kills  # one in flight at each
    assert list(store.check()) == []


def test_network_file_systems_are_refused(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n/dev/b {tmp_path}/own xfs rw 0 0\n")
    with pytest.raises(DataError, match=r"lies on a network file system \(nfs4\).*or to postgresql://HOST/DATABASE"):
        refuse_remote(tmp_path / "answers.sqlite", mounts)
    refuse_remote(tmp_path / "own" / "answers.sqlite", mounts)
    refuse_remote(Path("/elsewhere/answers.sqlite"), mounts)


def test_copies_for_experiments_find_the_main_workspace(tmp_path: Path) -> None:
    copy = tmp_path / "main" / ".dvc" / "tmp" / "exps" / "standalone" / "tmp123"
    copy.mkdir(parents=True)
    assert main_workspace(copy) == main_workspace(tmp_path / "main") == tmp_path / "main"
    default = str(tmp_path / "main" / ".db3" / "answers.sqlite")
    assert resolve_place("auto", copy) == resolve_place("auto", tmp_path / "main") == default
    assert resolve_place("own.sqlite", copy) == str(tmp_path / "main" / "own.sqlite")
    assert resolve_place("/abs/own.sqlite", copy) == "/abs/own.sqlite"
    assert resolve_place("postgresql://host/db", copy) == "postgresql://host/db"


def test_nothing_but_python_is_needed(tmp_path: Path) -> None:
    program = "import sys; from db3.teachers.answers.place import open_answers; open_answers(sys.argv[1]).entries(); "
    program += "print(*(name for name in ('sqlalchemy', 'psycopg', 'pyarrow') if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.sqlite")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
    shutil.rmtree(tmp_path)


def test_one_handle_for_a_place(tmp_path: Path) -> None:
    assert open_answers(tmp_path / "a.sqlite") is open_answers(str(tmp_path / "a.sqlite"))
