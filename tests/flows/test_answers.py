"""An image is paid for once: a real HTTP teacher whose server counts what arrives, and the pipeline as users run it."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import pytest

from db3.teachers.answers.place import close_answers, open_answers
from tests.flows.test_repro import ROOT, Clone

KILLS = int(os.environ.get("DB3_KILLS", "4"))
CODE = os.environ | {"PYTHONPATH": str(ROOT)}
SEARCH = ("samples.count=30", "query=bd", "query.budget=4", "query.augmented=0", "query.checkpoints=[]")


class Counting:
    """The server, and what arrived there."""

    def __init__(self, seconds: float = 0.0, port: int = 0) -> None:
        command = [sys.executable, "-m", "benchmarks.counting", "--seconds", str(seconds), "--port", str(port)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, cwd="/", env=environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.url = f"http://127.0.0.1:{self.process.stdout.readline().strip()}"

    def stop(self) -> int:
        """Its port, free again."""
        self.process.terminate()
        self.process.communicate()
        return int(self.url.rpartition(":")[2])

    def count(self) -> dict[str, int]:
        with urlopen(f"{self.url}/count", timeout=60) as reply:  # noqa: S310 - our own server
            told: dict[str, int] = json.load(reply)
        return told

    def teacher(self) -> tuple[str, ...]:
        return ("teacher=http", f"teacher.http.url={self.url}", "teacher.http.model=m", "teacher.call_batch=16")


@pytest.fixture
def server() -> Iterator[Counting]:
    counting = Counting()
    try:
        yield counting
    finally:
        counting.process.terminate()
        counting.process.communicate()


def clone_of(folder: Path, server: Counting, *chosen: str) -> Clone:
    clone = Clone(folder, *server.teacher(), *SEARCH, *chosen)
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks")
    return clone


def run(clone: Clone, *stages: str) -> None:
    for stage in stages:
        done = clone.run("-m", f"flows.{stage}", OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stderr


def queries(clone: Clone) -> dict[str, dict[str, int]]:
    return json.loads((clone.folder / "data/queries.json").read_text())  # type: ignore[no-any-return]


def outs(clone: Clone, *folders: str) -> dict[str, bytes]:
    paths = [path for folder in folders for path in (clone.folder / "data" / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(clone.folder)): path.read_bytes() for path in paths}


def test_a_comment_costs_time_alone_and_a_larger_budget_what_is_new(server: Counting, tmp_path: Path) -> None:
    clone = clone_of(tmp_path, server, "query.augmented=same")
    run(clone, "fetch_teacher", "samples", "query_decisions")
    first, begun = queries(clone), server.count()
    assert begun["images"] == sum(costs["sent"] for costs in first.values())
    assert begun["twice"] == 0
    bytes_before = outs(clone, "samples", "decisions")
    for module in ("db3/teachers/budget.py", "db3/search/driver.py"):
        with (clone.folder / module).open("a") as file:
            file.write("# a comment\n")
    run(clone, "samples", "query_decisions")
    again = queries(clone)
    assert server.count() == begun
    for stage, costs in again.items():
        assert (costs["asked"], costs["known"], costs["sent"]) == (costs["asked"], costs["asked"], 0)
        assert costs["sent_in_all"] == first[stage]["sent_in_all"]
    assert outs(clone, "samples", "decisions") == bytes_before
    # The first rounds of a larger budget ask the very same images.
    clone.compose(*server.teacher(), *SEARCH, "query.augmented=0", "query.budget=6")
    run(clone, "query_decisions")
    more = queries(clone)["query_decisions"]
    now = server.count()
    assert now["images"] - begun["images"] == more["sent"] == more["asked"] - more["known"]
    assert now["twice"] == 0
    assert more["known"] > more["sent"] > 0


def killed(clone: Clone, server: Counting, draw: random.Random, share: int) -> bool:
    """Kill a run when some more images have arrived; false if it ended before."""
    before, environment = server.count()["images"], clone.environment() | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.query_decisions"],
        cwd=clone.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    images, begun = before + draw.randrange(1, share), time.monotonic()
    while process.poll() is None and server.count()["images"] < images:
        assert time.monotonic() - begun < 300
        time.sleep(0.001)
    time.sleep(draw.uniform(0, 0.02))
    process.send_signal(signal.SIGKILL)
    _, told = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), told
    return process.returncode != 0


@pytest.mark.slow
def test_killed_at_random_moments_what_was_in_flight_is_known_exactly(tmp_path: Path) -> None:
    """DB3_KILLS says how often; `pytest -s` shows the figures."""
    more = f"query.budget={max(4, KILLS)}"
    server = Counting(0.004)
    try:
        whole, broken = (clone_of(tmp_path / name, server, more) for name in ("whole", "broken"))
        run(whole, "fetch_teacher", "samples", "query_decisions", "soft_labels")
        asked, draw = queries(whole)["query_decisions"]["asked"], random.Random(f"{KILLS}")  # noqa: S311 - a seed
        server = Counting(0.004, server.stop())
        run(broken, "fetch_teacher", "samples")
        kills = sum(killed(broken, server, draw, max(2, asked // KILLS)) for _ in range(KILLS))
        run(broken, "query_decisions", "soft_labels")
        costs, arrived = queries(broken)["query_decisions"], server.count()["images"]
        samples = queries(broken)["samples"]["sent"]
        assert outs(broken, "samples", "decisions", "transfer") == outs(whole, "samples", "decisions", "transfer")
        store = open_answers(broken.folder / ".db3/answers.sqlite")
        (entry,) = store.entries()
        close_answers()
        told = f"{kills} kills, {asked} asked, {arrived} arrived, {entry.sent} sent, {entry.answered} answered"
        print(f"{told}, {costs['lost']} in flight at kills")  # noqa: T201
        assert kills > KILLS // 2
        assert entry.sent == costs["sent_in_all"] + samples
        assert entry.sent - entry.answered == costs["lost"]
        assert entry.answered == entry.images == entry.votes
        assert entry.sent - costs["lost"] <= arrived <= entry.sent
        assert costs["lost"] <= kills * 4 * 16  # requests in flight at most: four of the process
    finally:
        server.stop()


def damaged(path: Path, draw: random.Random) -> int:
    """Flip some bytes of the store while nobody uses it, and do as the library advises; answers that were lost."""
    before, log = _images(path), path.with_name(f"{path.name}-wal")
    for one in (path, log):
        if one.is_file() and one.stat().st_size:
            data = bytearray(one.read_bytes())
            for _ in range(draw.choice([1, 8])):
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            one.write_bytes(data)
    if _answers(path, "check").returncode:
        repaired = _answers(path, "repair")
        rests = f"{path.name}*" if repaired.returncode else f"{path.name}.damaged*"  # nobody knows whose answers
        for rest in path.parent.glob(rests):
            rest.unlink()
    return before - _images(path)


def _answers(path: Path, verb: str) -> "subprocess.CompletedProcess[str]":
    """`db3 answers`, which shows no traceback whatever it finds."""
    code = "import sys; from db3.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "answers", "--store", str(path), verb]
    done = subprocess.run(command, check=False, cwd="/", capture_output=True, text=True, env=CODE)
    assert done.stderr.count("\n") == (done.returncode != 0 and not done.stdout)
    return done


def _images(path: Path) -> int:
    """Answered images of a store, from a copy: reading would tidy up what a kill has left."""
    if not path.is_file():
        return 0
    with TemporaryDirectory() as folder:
        for one in path.parent.glob(f"{path.name}*"):
            shutil.copyfile(one, Path(folder) / one.name)
        connection = sqlite3.connect(Path(folder) / path.name)
        ((images,),) = connection.execute("SELECT COUNT(*) FROM db3_answers").fetchall()
        connection.close()
    return int(images)


@pytest.mark.slow
def test_answers_damaged_while_a_stage_is_down_are_sent_again_and_no_others(tmp_path: Path) -> None:
    """Kills, and after each the store is damaged: DB3_KILLS says how often; `pytest -s` shows the figures."""
    more = f"query.budget={max(4, KILLS // 3)}"
    server = Counting(0.002)
    try:
        whole, broken = (clone_of(tmp_path / name, server, more) for name in ("whole", "broken"))
        stages = ("samples", "query_decisions", "soft_labels")
        run(whole, "fetch_teacher", *stages)
        asked, draw = queries(whole)["query_decisions"]["asked"], random.Random(f"{KILLS} damaged")  # noqa: S311
        server = Counting(0.002, server.stop())
        run(broken, "fetch_teacher", "samples")
        kills, lost, store = 0, 0, broken.folder / ".db3/answers.sqlite"
        for _ in range(KILLS):
            kills += killed(broken, server, draw, max(2, asked // KILLS))
            lost += damaged(store, draw)
        run(broken, *stages)
        assert outs(broken, "samples", "decisions", "transfer") == outs(whole, "samples", "decisions", "transfer")
        told = server.count()
        print(f"{kills} kills, {asked} asked, {lost} answers lost, {told} arrived")  # noqa: T201
        assert kills > KILLS // 2
        assert told["twice"] <= lost + kills * 4 * 16  # besides them what was in flight at kills
    finally:
        server.stop()


def test_two_clones_at_once_send_nothing_twice(tmp_path: Path) -> None:
    server = Counting(0.004)
    try:
        place = tmp_path / "shared.sqlite"
        clones = [clone_of(tmp_path / name, server, f"runtime.answers={place}") for name in ("one", "two")]
        run(clones[0], "fetch_teacher", "samples")
        shutil.copytree(clones[0].folder / "data", clones[1].folder / "data", dirs_exist_ok=True)
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "flows.query_decisions"],
                cwd=clone.folder,
                env=clone.environment() | {"OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for clone in clones
        ]
        for process in processes:
            _, told = process.communicate(timeout=300)
            assert process.returncode == 0, told
        one, two = (queries(clone)["query_decisions"] for clone in clones)
        count = server.count()
        print(f"asked {one['asked']} each, sent {one['sent']} and {two['sent']}, {count}")  # noqa: T201
        assert count["images"] == one["sent"] + two["sent"] + 30
        assert outs(clones[0], "decisions") == outs(clones[1], "decisions")
        assert one["asked"] == two["asked"]
        store = open_answers(place)
        (entry,) = store.entries()
        close_answers()
        assert count["twice"] == 0
        assert entry.images == entry.votes == count["distinct"]
    finally:
        server.process.terminate()
        server.process.communicate()


@pytest.mark.slow
def test_a_queued_grid_pays_for_each_image_once(server: Counting, tmp_path: Path) -> None:
    clone = clone_of(tmp_path, server)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    (tmp_path / ".gitignore").write_text(".db3/\n.prefect/\n__pycache__/\n")
    for command in (["add", "--all"], ["commit", "-qm", "begin"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)

    who = {f"GIT_{role}_{what}": "test@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def dvc(*arguments: str) -> str:
        done = clone.run("-m", "dvc", *arguments, OMP_NUM_THREADS="1", **who)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    chosen = ["experiment=smoke", *server.teacher(), *SEARCH, "distill.baselines=[hard]"]
    for budget in (3, 4, 5):
        overrides = [word for given in (*chosen, f"query.budget={budget}") for word in ("-S", given)]
        dvc("exp", "run", "--queue", *overrides)
    dvc("queue", "start", "--jobs", "2")
    end = time.monotonic() + 280
    while "Queued" in (told := dvc("queue", "status")) or "Running" in told:
        assert time.monotonic() < end, told
        time.sleep(1)
    assert told.count("Success") == 3, told
    grid = server.count()
    store = open_answers(tmp_path / ".db3/answers.sqlite")
    (entry,) = store.entries()
    close_answers()
    # The largest run alone, elsewhere.
    alone = Counting()
    try:
        other = clone_of(tmp_path / "alone", alone, "query.budget=5", "distill.baselines=[hard]")
        run(other, "fetch_teacher", "samples", "query_decisions", "soft_labels", "distill", "evaluate")
        largest = alone.count()
    finally:
        alone.process.terminate()
        alone.process.communicate()
    print(f"grid {grid}, largest alone {largest}, store {entry.sent} sent")  # noqa: T201
    assert grid["images"] == entry.sent
    assert grid["distinct"] == entry.images
    assert grid["twice"] == 0
    assert largest["images"] <= grid["distinct"] < 1.2 * largest["images"]
