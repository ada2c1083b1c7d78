"""The pipeline as a flow: DVC's word for each stage, and nothing left running."""

import json
import os
import signal
from pathlib import Path

import pytest

from db3.errors import ConfigError
from flows.pipeline import PipelineError, outcome, stages
from tests.flows.conftest import Project, Server, until

ROOT = Path(__file__).resolve().parents[2]

# Several runs in one process: importing Prefect takes as long as a run.
RUNS = """
import os, shutil
from pathlib import Path
from flows.pipeline import pipeline
def run(what, **parameters):
    state = pipeline(**parameters, return_state=True)
    print(f"RESULT {what}: {state.name}: {state.message}: {state.state_details.flow_run_id}", flush=True)
run("fresh")
run("again")
Path("data/copy.txt").unlink()
run("lost", until="copy")
os.environ["TOY_FAILS"] = "3"
shutil.rmtree(".db3")
run("broken", overrides=["query.seed=1", "runtime.workers=2"])
run("misspelt", experiment="smok")
run("unknown", until="coppy")
"""


def test_states_repeat_what_dvc_says(dvc_project: Project, server: Server) -> None:
    environment = {"PREFECT_API_URL": server.api, "PREFECT_HOME": str(server.project.folder / ".prefect")}
    result = dvc_project.python("-c", RUNS, **environment)
    assert result.returncode == 0, result.stderr
    told = [line.removeprefix("RESULT ") for line in result.stdout.splitlines() if line.startswith("RESULT ")]
    states = {what: (name, message, run) for what, name, message, run in (_split(line) for line in told)}

    assert states["fresh"][:2] == ("Completed", "toy completed, copy completed")
    assert states["again"][:2] == ("Completed", "toy skipped, copy skipped")
    assert states["lost"][:2] == ("Completed", "toy skipped, copy cached")
    assert states["broken"][:2] == ("Failed", "toy: shard 3 is wrong; fix it")
    assert states["misspelt"][0] == "Failed"
    assert "did you mean experiment=smoke?" in states["misspelt"][1]
    assert "did you mean copy?" in states["unknown"][1]

    fresh = server.task_runs(states["fresh"][2])
    assert fresh["toy"] == ("Completed", "toy: 6 shards, sum 70, 0 reused")
    assert server.task_runs(states["lost"][2])["copy"][0] == "Cached"
    assert server.task_runs(states["again"][2])["toy"][0] == "Skipped"
    assert server.task_runs(states["broken"][2]) == {"toy": ("Failed", "shard 3 is wrong; fix it")}
    logs = server.post("logs/filter", {"logs": {"flow_run_id": {"any_": [states["fresh"][2]]}}})
    assert "copied" in {entry["message"] for entry in logs}
    # The stage itself is a flow run of the same server, below the pipeline's.
    assert server.flow_runs("toy")[0]["state_name"] == "Failed"
    below = server.post("flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [states["fresh"][2]]}}})
    assert [(run["state_name"], run["state"]["message"]) for run in below] == [
        ("Completed", "6 shards, sum 70, 0 reused")
    ]
    of_run = {"artifacts": {"flow_run_id": {"any_": [states["fresh"][2]]}}}
    (table,) = [one for one in server.post("artifacts/filter", of_run) if one["key"] == "pipeline-stages"]
    assert table["description"] == "2 of 2 stages are up to date"
    assert [row["state"] for row in json.loads(table["data"])] == ["Completed", "Completed"]
    shown = {artifact["key"] for artifact in server.post("artifacts/filter", {})}
    assert {"pipeline-stages", "toy-progress", "toy-shards", "what-to-do"} <= shown


def test_runs_are_named_by_what_they_are_about(dvc_project: Project, server: Server) -> None:
    environment = {"PREFECT_API_URL": server.api, "PREFECT_HOME": str(server.project.folder / ".prefect")}
    wanted = ["experiment=smoke", "query.budget=5", "--until", "toy"]
    result = dvc_project.python("-m", "flows.pipeline", *wanted, **environment)
    assert result.returncode == 0, result.stderr
    names = {run["name"] for run in server.post("flow_runs/filter", {})}
    assert {
        "params.yaml as it stands, experiment=smoke, query.budget=5, until toy",
        "toy: digits, lenet5, 60 samples, auto 5",
    } <= names


def _split(line: str) -> tuple[str, str, str, str]:
    what, name, rest = line.split(": ", 2)
    message, run = rest.rsplit(": ", 1)
    return what, name, message, run


def test_a_run_that_is_told_to_end_leaves_no_process(dvc_project: Project, server: Server) -> None:
    environment = {"PREFECT_API_URL": server.api, "PREFECT_HOME": str(server.project.folder / ".prefect")}
    dvc_project.change("python toy.py", "echo $$ > pid && touch waiting && exec sleep 300", "dvc.yaml")
    with dvc_project.start("-m", "flows.pipeline", **environment) as process:
        until((dvc_project.folder / "waiting").exists)
        stage = int((dvc_project.folder / "pid").read_text())
        assert _runs(stage)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=90)
    assert process.returncode != 0
    until(lambda: not _runs(stage), 10)


def _in_the_middle(server: Server, seed: int) -> tuple[str, int]:
    """Start a run as the UI does it, whose stage waits after three shards; the run, and the stage's process."""
    waiting = server.project.folder / "waiting"
    waiting.unlink(missing_ok=True)
    run = server.start("on-demand", until="toy", overrides=[f"query.seed={seed}"])
    until(lambda: waiting.exists() and waiting.read_text())
    return run, int(waiting.read_text())


def _shards(server: Server) -> set[str]:
    return {path.name for path in (server.project.folder / ".db3").rglob("*.npz")}


def _goes_on(server: Server, before: set[str]) -> None:
    """The next run in that folder is taken, and nothing that was finished is gone."""
    assert before <= _shards(server)
    run = server.start("on-demand", until="toy", overrides=["query.seed=0"])
    until(lambda: server.flow_run(run)["end_time"])
    assert server.flow_run(run)["state_name"] == "Completed", server.flow_run(run)["state"]


def test_a_run_cancelled_in_the_interface_stops_its_stage_and_can_be_resumed(server: Server) -> None:
    run, stage = _in_the_middle(server, 100)
    before = _shards(server)
    state = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    assert server.post(f"flow_runs/{run}/set_state", state)["status"] == "ACCEPT"
    until(lambda: not _runs(stage), 60)
    until(lambda: server.flow_run(run)["state_type"] == "CANCELLED", 60)
    _goes_on(server, before)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["prefect.engine", "prefect worker start"])
def test_when_its_process_or_the_worker_is_killed_a_run_ends_and_the_next_goes_on(server: Server, victim: str) -> None:
    run, stage = _in_the_middle(server, 101)
    before = _shards(server)
    os.kill(next(pid for pid in _ancestors(stage) if victim in _command(pid)), signal.SIGKILL)
    until(lambda: not _runs(stage), 60)
    # Not Running for ever, which would also hold the place of the deployment's next run.
    until(lambda: server.flow_run(run)["state_name"] == "Crashed", 90)
    if victim == "prefect worker start":  # a killed worker tells nobody; the next one does, of the stage's run, too
        (below,) = server.post("flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}})
        assert below["state_name"] == "Crashed"
        assert "start it again" in below["state"]["message"]
    _goes_on(server, before)


def _ancestors(pid: int) -> list[int]:
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return [parent, *_ancestors(parent)] if parent > 1 else []


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_repository_that_is_in_use_is_said_in_one_line(dvc_project: Project, server: Server) -> None:
    environment = {"PREFECT_API_URL": server.api, "PREFECT_HOME": str(server.project.folder / ".prefect")}
    with dvc_project.start("-m", "dvc", "repro", TOY_WAITS_FROM="0") as other:
        until((dvc_project.folder / "waiting").exists)
        result = dvc_project.python("-m", "flows.pipeline", **environment)
        # DVC ignores Ctrl-C while a stage runs, so the stage is ended by force: it, not only the shell it may run in,
        # whose end would leave it waiting with DVC's pipes in its hands.
        for process in _descendants(other.pid):
            os.kill(process, signal.SIGKILL)
        other.communicate(timeout=60)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: the pipeline: the stage toy (process ")


def _descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [process for child in children for process in (*_descendants(child), child)]


def test_the_pipelines_stages_come_in_their_order() -> None:
    order = ["fetch_teacher", "samples", "query_decisions", "soft_labels", "distill", "evaluate", "report"]
    graph = stages(ROOT / "dvc.yaml")
    assert list(graph) == order
    assert list(stages(ROOT / "dvc.yaml", until="soft_labels")) == order[:4]
    assert graph["evaluate"] == ["fetch_teacher", "soft_labels", "distill"]


def write(folder: Path, stages_yaml: str) -> Path:
    path = folder / "dvc.yaml"
    path.write_text(f"stages:\n{stages_yaml}")
    return path


def test_order_follows_the_graph_not_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "  last: {cmd: x, deps: [out/b/file], outs: [c]}\n"
        "  middle: {cmd: x, deps: [a], outs: [{out/b: {cache: false}}]}\n"
        "  first: {cmd: x, metrics: [a]}\n",
    )
    assert stages(path) == {"first": [], "middle": ["first"], "last": ["middle"]}


def test_stages_in_a_circle_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, "  one: {cmd: x, deps: [b], outs: [a]}\n  two: {cmd: x, deps: [a], outs: [b]}\n")
    with pytest.raises(PipelineError, match=r"in a circle: .*one"):
        stages(path)


def test_a_folder_without_stages_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="cannot read the stages"):
        stages(tmp_path / "dvc.yaml")


def test_an_unknown_last_stage_comes_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean distill"):
        stages(ROOT / "dvc.yaml", until="destill")


@pytest.mark.parametrize(
    ("status", "lines", "name", "message"),
    [
        (0, ["Stage 'x' didn't change, skipping"], "Skipped", "nothing it depends on has changed"),
        (0, ["Stage 'x' is cached - skipping run, checking out outputs"], "Cached", "outs checked out"),
        (0, ["Running stage 'x':", "x: 3 samples", "Updating lock file 'dvc.lock'"], "Completed", "x: 3 samples"),
        (0, ["Running stage 'x':"], "Completed", "ran"),
        (1, ["error: no root", "ERROR: failed to reproduce 'x'"], "Failed", "no root"),
        (255, ["ERROR: failed to reproduce 'x': exited with 3"], "Failed", "exited with 3"),
        (1, ["ERROR: 'a' is busy, it is being blocked by:", "  (PID 7): dvc x"], "Failed", "(PID 7): dvc x; wait"),
        (1, ["ERROR: /x is not a git repository"], "Failed", "dvc config core.no_scm true"),
        (-9, [], "Failed", "status -9"),
    ],
)
def test_dvcs_words_become_states(status: int, lines: list[str], name: str, message: str) -> None:
    state = outcome("x", status, lines)
    assert state.name == name
    assert message in (state.message or "")
    assert state.is_completed() == (status == 0)
