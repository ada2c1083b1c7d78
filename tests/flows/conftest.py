"""A small project with a stage of its own, and a real Prefect server that serves it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from db3.teachers.adapters.batching import Batching
from flows.compose import compose
from flows.config import Runtime

ROOT = Path(__file__).resolve().parents[2]
PROJECT = Path(__file__).parent / "project"
HERE = str(Path(sys.executable).parent)


@dataclass(frozen=True)
class Project:
    """A folder with params.yaml, conf/, a stage `toy` and a dvc.yaml of two stages."""

    folder: Path

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DB3_", "TOY_"))}
        path = os.pathsep.join([HERE, kept["PATH"]])
        # Prefect's folder is the session's: an empty one costs a migration of the database.
        mine = {"PREFECT_HOME": str(self.folder / ".prefect"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        return kept | {"PATH": path} | mine | more

    def python(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, *arguments]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def computed(self) -> list[int]:
        """Shards computed so far, in order of their beginning."""
        log = self.folder / "computed.log"
        return [int(line) for line in log.read_text().split()] if log.is_file() else []

    def change(self, old: str, new: str, file: str = "params.yaml") -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


def make_project(folder: Path) -> Project:
    shutil.copytree(PROJECT, folder, dirs_exist_ok=True)
    shutil.copytree(ROOT / "conf", folder / "conf", dirs_exist_ok=True)
    shutil.copy(ROOT / "prefect.yaml", folder)
    (folder / "data").mkdir()
    (folder / "params.yaml").write_text(compose(["runtime.workers=2"], ROOT / "conf"), encoding="utf-8")
    return Project(folder)


def add_dvc(project: Project) -> None:
    """Git and DVC, set up as in this repository."""
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    (project.folder / ".gitignore").write_text(".prefect/\n.db3/\ncomputed.log\n")
    (project.folder / ".dvc").mkdir()
    for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore", "data/.gitignore"):
        shutil.copy(ROOT / name, project.folder / name)
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "begin"]):
        subprocess.run([*git, *command], cwd=project.folder, check=True)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "project")


@pytest.fixture
def dvc_project(project: Project) -> Project:
    add_dvc(project)
    return project


def until(happened: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Wait for something that another process does; fail when it does not come."""
    end = time.monotonic() + seconds
    while not (result := happened()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return result


@dataclass(frozen=True)
class Server:
    """`make ui` at work in a project of its own, and its API."""

    project: Project
    port: int

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def request(
        self, path: str, body: Mapping[str, Any] | Sequence[Any] | None, method: str = "POST"
    ) -> tuple[int, Any]:
        for _ in range(10):
            with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
                connection.request(method, f"/api/{path}", json.dumps(body), {"content-type": "application/json"})
                answer = connection.getresponse()
                told = answer.status, json.loads(answer.read() or "null")
            if told[0] != 503:  # the server's database is busy; every client of it tries again
                break
            time.sleep(1)
        return told

    def post(self, path: str, body: Mapping[str, Any] | Sequence[Any]) -> Any:
        status, answer = self.request(path, body)
        assert status in {200, 201}, answer
        return answer

    def deployment(self, name: str) -> dict[str, Any]:
        (found,) = self.post("deployments/filter", {"deployments": {"name": {"any_": [name]}}})
        return dict(found)

    def start(self, deployment: str, **parameters: Any) -> str:
        """Start a run as the UI does it; its id."""
        path = f"deployments/{self.deployment(deployment)['id']}/create_flow_run"
        return str(self.post(path, {"parameters": parameters})["id"])

    def flow_run(self, run: str) -> dict[str, Any]:
        (found,) = self.post("flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return dict(found)

    def task_runs(self, flow_run: str) -> dict[str, tuple[str, str | None]]:
        """Name to (state, message) of the task runs of a flow run."""
        runs = self.post("task_runs/filter", {"flow_runs": {"id": {"any_": [flow_run]}}})
        return {run["name"]: (run["state_name"], run["state"]["message"]) for run in runs}

    def flow_runs(self, flow: str) -> list[dict[str, Any]]:
        """Runs of a flow, the latest first, those of the schedule left out."""
        body = {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_DESC"}
        return [run for run in self.post("flow_runs/filter", body) if run["start_time"]]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the whole session: its start takes many seconds."""
    project = make_project(tmp_path_factory.mktemp("served") / "project")
    add_dvc(project)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = project.folder / "ui.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.ui", "start", "--port", str(port)],
            cwd=project.folder,
            env=project.environment(),
            stdout=output,
            stderr=output,
        )
    served = Server(project, port)
    try:
        until(lambda: process.poll() is not None or "is deployed" in log.read_text(), 240)
        assert process.poll() is None, log.read_text()
        until(lambda: served.post("deployments/filter", {}))
        yield served
    finally:
        stopped = project.python("-m", "flows.ui", "stop")
        assert process.wait(60) == 0, log.read_text()
        assert stopped.stdout == "ui: stopped\n"


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a small teacher and its samples; to be copied, never changed."""
    from flows.fetch_teacher import fetch_teacher
    from flows.samples import samples
    from tests.flows.test_searches import configured

    data = tmp_path_factory.mktemp("taught") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(data.parent)
        for stage in (fetch_teacher, samples):
            (data / stage.folder).mkdir(parents=True)
            stage(configured(), data)
    return data


@pytest.fixture
def data(taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in a folder with no shard store yet."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(taught, tmp_path / "data"))


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Images that really reach the teacher, call by call."""
    counts: list[int] = []
    decide = Batching.decide

    def counted(self: Batching, images: Any) -> Any:
        counts.append(len(images))
        return decide(self, images)

    monkeypatch.setattr(Batching, "decide", counted)
    return counts


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(runner="threads", workers=2, threads=1, device="cpu")


@pytest.fixture
def isolated() -> tuple[str, ...]:
    """A command that runs another without a network but its own loopback: Ray listens on every interface."""
    pytest.importorskip("ray")
    namespace = ("unshare", "--net", "--map-root-user")
    up = "ip link set lo up"
    if not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("needs the commands unshare and ip, to give Ray a network of its own")
    if subprocess.run([*namespace, "sh", "-c", up], capture_output=True, check=False).returncode != 0:
        pytest.skip("may not make a network namespace here, and Ray listens on all interfaces of the machine's own")
    return (*namespace, "sh", "-c", f'{up} && exec "$@"', "sh")
