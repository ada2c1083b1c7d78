"""SIGKILL at random moments of query_decisions: nothing answered is sent twice, and no byte of the outs changes.

DB3_KILLS says how often searches are killed (6 times where it does not); `pytest -s` shows the figures.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.flows.test_repro import Clone

KILLS = int(os.environ.get("DB3_KILLS", "6"))
# Counts the images that reach the network, without what fills a call up, where nothing of the store of answers can: in
# a file of one line a call.
COUNTED = """
import os
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.network import NetworkTeacher
decide, log = NetworkTeacher.decide, os.open("arrived.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def counted(self, images):
    os.write(log, b"%d\\n" % self.rows)
    return decide(self, images)
NetworkTeacher.decide = counted
call = Batching._call
def counting(self, images):
    self._teacher.rows = len(images)
    return call(self, images)
Batching._call = counting
from flows.query_decisions import query_decisions
query_decisions.cli()
"""
KEPT = "runtime.answers=.db3/answers.sqlite"  # a network of db3's own would just be asked again
SEARCHES: dict[str, tuple[int, *tuple[str, ...]]] = {
    "mbd": (2 * KILLS // 3, "query=mbd", "query.budget=60", "runtime.shard=15"),
    "auto": (KILLS - 2 * KILLS // 3, "runtime.shard=30", "query.surrogate.steps=30", "query.surrogate.retrain=20"),
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a teacher and its samples."""
    clone = Clone(tmp_path_factory.mktemp("begun"))
    for stage in ("fetch_teacher", "samples"):
        assert clone.run("-m", f"flows.{stage}", OMP_NUM_THREADS="1").returncode == 0
    return clone.folder / "data"


def start(clone: Clone) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", COUNTED],
        cwd=clone.folder,
        env=clone.environment() | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def arrived(clone: Clone) -> int:
    log = clone.folder / "arrived.log"
    return sum(map(int, log.read_text().split())) if log.is_file() else 0


def outs(clone: Clone) -> dict[str, bytes]:
    folder = clone.folder / "data" / "decisions"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def killed(clone: Clone, draw: random.Random, share: int) -> bool:
    """Kill a run when some more images have arrived, or in the first seconds; false if it ended before."""
    before, process, begun = arrived(clone), start(clone), time.monotonic()
    early = draw.random() < 0.2
    moment = draw.uniform(0, 4) if early else draw.uniform(0, 0.05)
    images = before + draw.randrange(1, share)
    while process.poll() is None and not early and arrived(clone) < images:
        assert time.monotonic() - begun < 600
        time.sleep(0.001)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    _, told = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), told
    return process.returncode != 0


@pytest.mark.slow
@pytest.mark.parametrize("method", SEARCHES)
def test_killed_at_random_moments_it_ends_with_the_same_bytes_and_pays_nothing_twice(
    method: str, begun: Path, tmp_path: Path
) -> None:
    moments, *settings = SEARCHES[method]
    whole, broken = (Clone(tmp_path / name, *settings, KEPT) for name in ("whole", "broken"))
    for clone in (whole, broken):
        shutil.copytree(begun, clone.folder / "data", dirs_exist_ok=True)
    process = start(whole)
    _, told = process.communicate(timeout=600)
    assert process.returncode == 0, told
    asked = arrived(whole)
    undisturbed = json.loads((whole.folder / "data" / "queries.json").read_text())["query_decisions"]

    draw = random.Random(f"kill {method} {moments}")  # noqa: S311 - a seed, no secret
    kills = sum(killed(broken, draw, 2 * asked // moments) for _ in range(moments))
    assert kills >= moments // 2
    process = start(broken)
    line, told = process.communicate(timeout=600)
    assert process.returncode == 0, told
    assert outs(broken) == outs(whole)
    costs = json.loads((broken.folder / "data" / "queries.json").read_text())["query_decisions"]
    assert costs["asked"] == undisturbed["asked"] >= asked == undisturbed["sent"]
    assert costs["sent_in_all"] == asked + costs["lost"]
    # What was in flight at a kill may have arrived or not; everything else arrived once.
    assert asked <= arrived(broken) <= costs["sent_in_all"]
    assert costs["lost"] <= kills * 2 * 16 * 64  # two workers, a call each
    told = f"{kills} kills, {asked} asked, {arrived(broken)} arrived, {costs['sent_in_all']} sent, {costs['lost']} lost"
    print(f"{method}: {told}; {line.strip()}")  # noqa: T201


def test_killed_in_the_middle_of_the_samples_no_decision_is_sent_twice(begun: Path, tmp_path: Path) -> None:
    """Until the answers are in data/samples they are in the store, and known from there."""
    clone = Clone(tmp_path, "samples.count=300", KEPT)
    shutil.copytree(begun / "teacher", clone.folder / "data" / "teacher")
    program = COUNTED.replace("query_decisions", "samples")
    stop = "\n    if os.fstat(log).st_size > 9: os.kill(os.getpid(), 9)\n"
    for text, code in ((program.replace("    return", stop + "    return", 1), -signal.SIGKILL), (program, 0)):
        done = clone.run("-c", text, OMP_NUM_THREADS="1")
        assert done.returncode == code, done.stderr
    costs = json.loads((clone.folder / "data" / "queries.json").read_text())["samples"]
    assert costs == {**costs, "asked": 300, "known": 192, "lost": 64, "sent": 108, "sent_in_all": 364}
    assert arrived(clone) == 364


def test_two_processes_at_once_pay_for_nothing_twice(begun: Path, tmp_path: Path) -> None:
    """The second one is refused in one line while the first one asks."""
    clone = Clone(tmp_path, *SEARCHES["mbd"][1:], "runtime.runner=local")
    shutil.copytree(begun, clone.folder / "data", dirs_exist_ok=True)
    first = start(clone)
    while not arrived(clone):
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)
    try:
        second = clone.run("-m", "flows.query_decisions", OMP_NUM_THREADS="1")
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert second.returncode == 1
    assert "is at work in this folder; wait until it ends, or end it" in second.stderr
    assert "Traceback" not in second.stderr
