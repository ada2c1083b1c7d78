"""A stage from outside: what it prints, how it ends, and what Prefect sees of it."""

import os
import signal
from pathlib import Path

import pytest

from db3.errors import ConfigError
from flows.config import Config, Runtime
from flows.engine.stage import Stage
from tests.flows.conftest import Project, Server, until

SUMMARY = "toy: 6 shards, sum 70, 0 reused\n"


def test_a_stage_prints_one_line_and_ends_well(project: Project) -> None:
    result = project.python("toy.py")
    assert (result.returncode, result.stdout) == (0, SUMMARY)
    assert (project.folder / "data/toy/sum.txt").read_text() == "70\n"
    assert not (project.folder / ".prefect").exists()


def test_run_by_hand_a_stage_finds_its_folder_empty_and_its_shards_finished(project: Project) -> None:
    project.python("toy.py")
    (project.folder / "data/toy/stale.txt").touch()
    assert project.python("toy.py").stdout == "toy: 6 shards, sum 70, 6 reused\n"
    assert [path.name for path in (project.folder / "data/toy").iterdir()] == ["sum.txt"]


def test_an_error_is_one_line_and_the_next_run_goes_on(project: Project) -> None:
    result = project.python("toy.py", TOY_FAILS="3")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == "error: shard 3 is wrong; fix it"
    assert "Traceback" not in result.stderr
    done = len(list((project.folder / ".db3").rglob("*.npz")))
    assert 0 < done < 6
    assert project.python("toy.py").stdout == f"toy: 6 shards, sum 70, {done} reused\n"


def test_the_traceback_comes_on_request_after_the_line(project: Project) -> None:
    lines = project.python("toy.py", TOY_FAILS="3", DB3_TRACEBACK="1").stderr.splitlines()
    assert lines.index("error: shard 3 is wrong; fix it") < lines.index("Traceback (most recent call last):")


def test_a_full_disk_is_one_line(project: Project) -> None:
    result = project.python("toy.py", TOY_FULL="1")
    assert result.returncode == 1
    assert "error: no space left on the device while writing data/toy/x; free some" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_defect_keeps_its_traceback(project: Project) -> None:
    result = project.python("toy.py", TOY_DEFECT="1")
    assert result.returncode == 1
    assert "ZeroDivisionError: a defect" in result.stderr


def test_a_misspelt_parameter_is_one_line(project: Project) -> None:
    project.change("  lr:", "  lrr:")
    result = project.python("toy.py")
    assert result.returncode == 1
    assert result.stderr.startswith("error: params.yaml: unknown parameter")
    assert result.stderr.count("\n") == 1


def test_outside_the_projects_root_a_stage_says_so(project: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    result = Project(elsewhere).python(str(project.folder / "toy.py"))
    assert result.returncode == 1
    assert "cannot read params.yaml" in result.stderr
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("module", ["flows.compose", "flows.samples", "flows.pipeline", "flows.ui", "flows.verify"])
def test_below_the_projects_root_nothing_is_made(project: Project, module: str) -> None:
    below = project.folder / "data/below"
    below.mkdir(parents=True)
    result = Project(below).python("-m", module, *(["start"] if module == "flows.ui" else []))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"error: {below} holds no params.yaml, dvc.yaml or conf/: run in the project's root, or create one with "
        "`db3 init FOLDER`\n"
    )
    assert list(below.iterdir()) == []


@pytest.mark.parametrize("found", ["a file", "a symbolic link"])
def test_something_else_in_a_folder_s_place_is_one_line_and_stays(project: Project, found: str) -> None:
    other, place = project.folder / "other", project.folder / "data/toy"
    other.mkdir()
    (other / "kept").touch()
    place.parent.mkdir(exist_ok=True)
    if found == "a file":
        place.touch()
    else:
        place.symlink_to(other)
    result = project.python("toy.py")
    assert result.returncode == 1
    assert result.stderr == (
        f"error: data/toy is {found}; expected a folder, which the stage writes anew: move it away\n"
    )
    assert place.is_file() or (other / "kept").is_file()


def test_a_terminal_of_ascii_alone_gets_its_line(project: Project) -> None:
    result = project.python("toy.py", PYTHONIOENCODING="ascii", TOY_SAYS="±")
    assert (result.returncode, result.stdout) == (0, SUMMARY.replace("toy:", r"toy: \xb1"))


def test_arguments_are_refused(project: Project) -> None:
    assert project.python("toy.py", "--force").returncode == 2


def _finished(project: Project) -> int:
    """Shards in the store; with TOY_WAITS_FROM=3 the others sleep."""
    return len(list((project.folder / ".db3").rglob("*.npz")))


@pytest.mark.parametrize("runner", ["threads", "local"])
def test_after_ctrl_c_the_next_run_goes_on(project: Project, runner: str) -> None:
    project.change("runner: threads", f"runner: {runner}")
    with project.start("toy.py", TOY_WAITS_FROM="3") as process:
        until(lambda: _finished(project) == 3)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.splitlines()[-1] == "interrupted; finished shards are kept, run again to continue"
    assert "Traceback" not in error
    assert project.python("toy.py").stdout == "toy: 6 shards, sum 70, 3 reused\n"


def test_a_killed_run_loses_nothing_that_was_finished(project: Project) -> None:
    with project.start("toy.py", TOY_WAITS_FROM="3") as process:
        until(lambda: _finished(project) == 3)
        process.kill()
        process.communicate(timeout=60)
    assert project.python("toy.py").stdout == "toy: 6 shards, sum 70, 3 reused\n"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/api", "nonsense"])
def test_a_server_that_does_not_answer_is_an_error_not_a_plain_run(project: Project, url: str) -> None:
    (project.folder / "data/toy").mkdir()
    (project.folder / "data/toy/sum.txt").write_text("what an earlier run left")
    result = project.python("toy.py", PREFECT_API_URL=url)
    assert (project.folder / "data/toy/sum.txt").exists()
    assert (result.returncode, result.stdout) == (1, "")
    assert f"error: PREFECT_API_URL is {url}, but no Prefect server answers there" in result.stderr
    assert "Traceback" not in result.stderr
    assert project.computed() == []


def test_with_a_server_every_shard_is_a_task_run(project: Project, server: Server) -> None:
    """Failed, then resumed: what was kept ends as Cached, and the bytes are those of a plain run."""
    environment = {"PREFECT_API_URL": server.api, "PREFECT_HOME": str(server.project.folder / ".prefect")}
    failed = project.python("toy.py", TOY_FAILS="3", **environment)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == "error: shard 3 is wrong; fix it"
    assert "Traceback" not in failed.stderr
    kept = set(project.computed())

    result = project.python("toy.py", **environment)
    assert result.stdout == f"toy: 6 shards, sum 70, {len(kept)} reused\n"
    second, first = server.flow_runs("toy")[:2]
    assert (first["state_name"], second["state_name"]) == ("Failed", "Completed")
    assert second["state"]["message"] == result.stdout.removeprefix("toy: ").strip()
    assert second["parameters"]["parameters"]["query"]["seed"] == 0
    before, after = (server.task_runs(run["id"]) for run in (first, second))
    assert before["toy-003"][0] == "Failed"
    assert {name: state for name, (state, _) in after.items()} == {
        f"toy-{index:03d}": "Cached" if index in kept else "Completed" for index in range(6)
    }

    tracked = {path.name: path.read_bytes() for path in (project.folder / ".db3").rglob("*.npz")}
    plain = Project(project.folder / "plain")
    plain.folder.mkdir()
    (plain.folder / "params.yaml").write_bytes((project.folder / "params.yaml").read_bytes())
    assert plain.python(os.fspath(project.folder / "toy.py")).stdout == SUMMARY
    assert {path.name: path.read_bytes() for path in (plain.folder / ".db3").rglob("*.npz")} == tracked


def test_a_tracker_without_its_package_is_told_before_any_stage_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr("db3.publish.sinks.find_spec", lambda _: None)
    kept = tmp_path / "data" / "samples" / "kept.txt"
    kept.parent.mkdir(parents=True)
    kept.touch()
    config = Config(runtime=Runtime(sinks=("dvclive",)))
    with pytest.raises(ConfigError, match="the sink dvclive needs the package dvclive, which is not installed: pip"):
        Stage("samples", lambda *_: pytest.fail("it ran"), "samples").run(config, tmp_path / "data")
    assert kept.exists()
