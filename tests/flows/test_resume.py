"""Killed at any moment, a run goes on: the same dvc.lock in the end, and no finished shard computed again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from flows.pipeline import stages
from tests.flows.conftest import ROOT, Project, add_dvc, make_project, until
from tests.flows.test_repro import Clone

REPRO = (sys.executable, "-m", "dvc", "repro", "--quiet")


def shards(folder: Path) -> dict[str, tuple[int, int]]:
    """Finished shards: a file that is written anew is another file."""
    found = {path.name: path.stat() for path in (folder / ".db3").rglob("*.npz")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def killed_at(seconds: float, folder: Path, environment: dict[str, str]) -> bool:
    """Run `dvc repro` and kill it and all it has started after so many seconds; whether it was still at work."""
    process = subprocess.Popen(
        REPRO, cwd=folder, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
        return True


def resumes(folder: Path, environment: dict[str, str], kills: int, longest: float, seed: int) -> tuple[int, int]:
    """Kill so many runs at seeded moments, then let one finish: kills that struck, shards kept through all of them."""
    moments, kept, struck = random.Random(seed), dict[str, tuple[int, int]](), 0  # noqa: S311 - moments, no secret
    for _ in range(kills):
        struck += killed_at(moments.uniform(0.2, longest), folder, environment)
        finished = shards(folder)
        assert {name: finished.get(name) for name in kept} == kept
        kept = finished
    done = subprocess.run(REPRO, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    finished = shards(folder)
    assert {name: finished.get(name) for name in kept} == kept
    return struck, len(kept)


def test_three_kills_of_a_small_project_change_nothing(tmp_path: Path) -> None:
    whole, broken = make_project(tmp_path / "whole"), make_project(tmp_path / "broken")
    for project in (whole, broken):
        add_dvc(project)
    assert whole.python(*REPRO[1:]).returncode == 0
    slow = broken.environment(TOY_WAITS_FROM="0", TOY_SECONDS="1.5")
    struck, _ = resumes(broken.folder, slow, kills=3, longest=4.0, seed=0)
    assert struck
    assert (broken.folder / "dvc.lock").read_bytes() == (whole.folder / "dvc.lock").read_bytes()


def test_a_stage_killed_in_its_middle_keeps_what_it_finished(dvc_project: Project) -> None:
    slow = dvc_project.environment(TOY_WAITS_FROM="4")
    process = subprocess.Popen(REPRO, cwd=dvc_project.folder, env=slow, start_new_session=True)
    until(lambda: len(shards(dvc_project.folder)) == 4)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    kept = shards(dvc_project.folder)
    done = dvc_project.python("-m", "dvc", "repro")
    assert "toy: 6 shards, sum 70, 4 reused" in done.stdout, done.stderr
    assert {name: shards(dvc_project.folder)[name] for name in kept} == kept


def at_work(folder: Path) -> str:
    """The stage that holds, or held last, the lock of the folder: "samples 1234", with its process."""
    with suppress(OSError, ValueError):
        holder = json.loads((folder / ".db3/stage.lock").read_text())
        return f"{holder['what'].removeprefix('the stage ')} {holder['pid']}"
    return ""


def timed(folder: Path, environment: dict[str, str]) -> dict[str, float]:
    """Run `dvc repro` to its end: how long each stage was at work, in the order of the stages."""
    begun = dict[str, float]()
    process = subprocess.Popen(REPRO, cwd=folder, env=environment)
    while process.poll() is None:
        if stage := at_work(folder).partition(" ")[0]:
            begun.setdefault(stage, time.monotonic())
        time.sleep(0.02)
    assert process.returncode == 0
    ends = [*list(begun.values())[1:], time.monotonic()]
    return {stage: end - begun[stage] for stage, end in zip(begun, ends, strict=True)}


def killed_in(stage: str, order: Sequence[str], seconds: float, folder: Path, environment: dict[str, str]) -> str:
    """Kill `dvc repro` and all it has started so long after it came to a stage, at the latest when the next one begins.

    Returns:
        the stage, a later one where that one was done before, nothing where all were.
    """
    before = at_work(folder)
    process = subprocess.Popen(
        REPRO, cwd=folder, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    late = order[order.index(stage) :]
    while process.poll() is None and (at_work(folder) == before or at_work(folder).partition(" ")[0] not in late):
        time.sleep(0.02)
    now, end = at_work(folder), time.monotonic() + seconds
    while process.poll() is None and at_work(folder) == now and time.monotonic() < end:
        time.sleep(0.02)
    if process.poll() is not None:
        return ""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    forget_a_torn_lock(folder)
    return now.partition(" ")[0]


def forget_a_torn_lock(folder: Path) -> None:
    """What docs/guides/orchestration.md tells to do: DVC writes dvc.lock in place, and a kill may strike just then."""
    lock = folder / "dvc.lock"
    with suppress(FileNotFoundError, yaml.YAMLError):
        if "schema" in (yaml.safe_load(lock.read_bytes()) or {}):
            return
    lock.unlink(missing_ok=True)


def test_after_a_torn_lock_the_finished_stages_come_back_from_the_run_cache(dvc_project: Project) -> None:
    assert dvc_project.python(*REPRO[1:]).returncode == 0
    lock, kept = dvc_project.folder / "dvc.lock", shards(dvc_project.folder)
    whole = lock.read_bytes()
    lock.write_bytes(b"")
    assert "dvc.lock' validation failed" in dvc_project.python("-m", "dvc", "repro").stderr
    forget_a_torn_lock(dvc_project.folder)
    again = dvc_project.python("-m", "dvc", "repro")
    assert "is cached" in again.stdout, again.stderr
    assert "toy: " not in again.stdout
    assert lock.read_bytes() == whole
    assert shards(dvc_project.folder) == kept


@pytest.mark.slow
def test_kills_in_every_stage_of_the_real_pipeline_change_nothing(tmp_path: Path) -> None:
    """Kills at seeded moments of each stage in turn; DB3_TEST_KILLS says how many, `pytest -s` shows where."""
    kills = int(os.environ.get("DB3_TEST_KILLS", "7"))
    whole, broken = Clone(tmp_path / "whole"), Clone(tmp_path / "broken")
    lasting = timed(whole.folder, whole.environment())
    order, draw = list(lasting), random.Random(1)  # noqa: S311 - moments, no secret
    assert order == list(stages(ROOT / "dvc.yaml"))
    kept, struck = dict[str, tuple[int, int]](), list[str]()
    for number in range(kills):
        stage = order[number * len(order) // kills]
        struck.append(killed_in(stage, order, draw.uniform(0, lasting[stage]), broken.folder, broken.environment()))
        finished = shards(broken.folder)
        assert {name: finished.get(name) for name in kept} == kept
        kept = finished
    broken.repro()
    finished = shards(broken.folder)
    assert {name: finished.get(name) for name in kept} == kept
    assert broken.lock() == whole.lock()
    assert finished.keys() == shards(whole.folder).keys()
    assert len([stage for stage in struck if stage]) > kills // 2
    assert kept
    told = ", ".join(f"{stage or 'none'} {count}" for stage, count in Counter(struck).items())
    print(f"kills: {told}; {len(kept)} of {len(finished)} shards were kept, none computed again")  # noqa: T201
