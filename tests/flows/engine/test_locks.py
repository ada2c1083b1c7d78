"""One run at a time in a folder, and none that outlives whoever began it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.engine.locks import BusyError, hold_lock, require_idle
from tests.flows.conftest import Project, until


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_second_run_is_told_of_the_first() -> None:
    with (
        hold_lock("the pipeline", "run"),
        pytest.raises(BusyError, match=rf"the stage x: the pipeline \(process {os.getpid()}\) is at work"),
        hold_lock("the stage x", "run"),
    ):
        pass
    with hold_lock("the stage x", "run"):
        pass


@pytest.mark.parametrize("lock", ["run", "stage"])
def test_parameters_wait_for_the_end_of_a_run(lock: str) -> None:
    with hold_lock("something", lock), pytest.raises(BusyError, match=r"params.yaml: something \(process"):
        require_idle("params.yaml")
    require_idle("params.yaml")


def test_what_a_killed_run_left_behind_locks_nothing(folder: Path) -> None:
    (folder / ".db3").mkdir()
    (folder / ".db3/run.lock").write_text('{"what": "the pipeline", "pid": 1}')
    with hold_lock("another", "run"):
        pass
    (folder / ".db3/run.lock").write_text("torn")
    require_idle("params.yaml")


def test_a_second_stage_is_refused_and_so_are_new_parameters(project: Project) -> None:
    with project.start("toy.py", TOY_WAITS_FROM="0") as first:
        until((project.folder / "waiting").exists)
        second = project.python("toy.py")
        composed = project.python("-m", "flows.compose", "query.seed=1")
        first.kill()
        first.communicate(timeout=60)
    for refused in (second, composed):
        assert refused.returncode == 1
        assert f"the stage toy (process {first.pid}) is at work in this folder" in refused.stderr
        assert refused.stderr.count("\n") == 1
    assert project.python("toy.py").returncode == 0


def test_parameters_changed_under_a_stage_are_noticed(project: Project) -> None:
    with project.start("toy.py", TOY_WAITS_FROM="5", TOY_SECONDS="2") as stage:
        until((project.folder / "waiting").exists)
        project.change("seed: 0", "seed: 1")
        _, told = stage.communicate(timeout=60)
    assert stage.returncode == 1
    assert "error: params.yaml was changed while this stage ran" in told


def test_a_folder_that_cannot_be_written_is_one_line(project: Project) -> None:
    # A file in the place of the folder: root may write everywhere else.
    shutil.rmtree(project.folder / ".db3", ignore_errors=True)
    (project.folder / ".db3").write_text("")
    result = project.python("toy.py")
    assert result.returncode == 1
    assert result.stderr.startswith("error: cannot write .db3")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("victim", ["dvc", "group"])
def test_after_a_killed_dvc_the_stage_ends_too_and_the_next_run_goes_on(dvc_project: Project, victim: str) -> None:
    """However DVC ends: alone, as when memory runs out, or with its session, as when a terminal is closed."""
    project = dvc_project
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "--quiet", "toy"],
        cwd=project.folder,
        env=project.environment(TOY_WAITS_FROM="3"),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as dvc:
        stage = int(until(lambda: _text(project.folder / "waiting")))
        until(lambda: len(list((project.folder / ".db3").rglob("*.npz"))) == 3)
        (os.kill if victim == "dvc" else os.killpg)(dvc.pid, signal.SIGKILL)
        dvc.wait(30)
    until(lambda: not Path(f"/proc/{stage}").exists(), 20)
    result = project.python("-m", "dvc", "repro", "toy")
    assert "toy: 6 shards, sum 70, 3 reused" in result.stdout, result.stderr


def _text(path: Path) -> str:
    time.sleep(0.05)
    return path.read_text() if path.exists() else ""


def test_parameters_stay_while_dvc_is_between_two_stages(dvc_project: Project) -> None:
    dvc_project.change("python toy.py", "touch waiting && exec sleep 300", "dvc.yaml")  # a stage without our lock
    before = (dvc_project.folder / "params.yaml").read_text()
    with dvc_project.start("-m", "dvc", "repro") as process:
        until((dvc_project.folder / "waiting").exists)
        refused = dvc_project.python("-m", "flows.compose", "experiment=smoke")
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.communicate(timeout=60)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"error: params.yaml is not changed: `dvc repro` (process {process.pid}) is at work in this folder; "
        "wait until it ends, or end it\n"
    )
    assert (dvc_project.folder / "params.yaml").read_text() == before
