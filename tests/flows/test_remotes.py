"""Versions that travel: pushed to a remote, pulled into a fresh clone, which then has nothing to run."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.conftest import Project, until

GIT = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost")


def dvc(project: Project, *arguments: str, **environment: str) -> str:
    result = project.python("-m", "dvc", *arguments, **environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def commit(project: Project) -> None:
    for command in (["add", "--all"], ["commit", "--quiet", "--message", "results"]):
        subprocess.run([*GIT, *command], cwd=project.folder, check=True)


def clone(project: Project, folder: Path, *depth: str) -> Project:
    subprocess.run([*GIT, "clone", "--quiet", *depth, project.folder.as_uri(), folder], check=True)
    return Project(folder)


def test_a_fresh_clone_has_everything_after_a_pull_and_nothing_to_run(dvc_project: Project, tmp_path: Path) -> None:
    dvc(dvc_project, "remote", "add", "--default", "store", str(tmp_path / "remote"))
    dvc(dvc_project, "repro")
    commit(dvc_project)
    dvc(dvc_project, "push")

    fresh = clone(dvc_project, tmp_path / "fresh", "--depth", "1")
    dvc(fresh, "pull")
    assert "up to date" in dvc(fresh, "status")
    assert (fresh.folder / "data/toy/sum.txt").read_text() == "70\n"
    assert fresh.computed() == []

    # And without a pull, a run takes from the remote what it has.
    pulling = clone(dvc_project, tmp_path / "pulling")
    dvc(pulling, "repro", "--pull")
    assert (pulling.folder / "data/copy.txt").read_text() == "70\n"
    assert pulling.computed() == []


def test_what_is_damaged_in_a_remote_is_refused_and_what_is_damaged_in_the_cache_is_repaired(
    dvc_project: Project, tmp_path: Path
) -> None:
    dvc(dvc_project, "remote", "add", "--default", "store", str(tmp_path / "remote"))
    dvc(dvc_project, "remote", "modify", "store", "verify", "true")
    dvc(dvc_project, "repro")
    commit(dvc_project)
    dvc(dvc_project, "push")
    fresh, careless = clone(dvc_project, tmp_path / "fresh"), clone(dvc_project, tmp_path / "careless")
    (held,) = [path for path in (tmp_path / "remote").rglob("*") if path.is_file() and path.read_text() == "70\n"]
    held.chmod(0o644)
    held.write_text("71\n")
    refused = fresh.python("-m", "dvc", "pull")
    assert refused.returncode != 0
    assert not (fresh.folder / "data/copy.txt").exists()
    held.write_text("70\n")

    dvc(careless, "pull")
    (kept,) = [
        path
        for path in (careless.folder / ".dvc/cache/files").rglob("*")
        if path.is_file() and len(path.read_bytes()) == 3
    ]
    kept.chmod(0o644)
    kept.write_text("71\n")
    kept.chmod(0o444)
    for name in ("data/copy.txt", "data/toy/sum.txt"):
        (careless.folder / name).unlink()
    dvc(careless, "checkout", "--force")
    assert "up to date" in dvc(careless, "status")
    assert (careless.folder / "data/copy.txt").read_text() == "71\n"  # DVC believes its cache

    told = careless.python("-m", "flows.repair")
    assert (told.returncode, told.stderr) == (0, "")
    assert [line.rpartition("/")[2] for line in told.stdout.splitlines()[:-1]] == [kept.name, "sum.txt", "copy.txt"]
    dvc(careless, "pull", "--force")
    assert (careless.folder / "data/copy.txt").read_text() == "70\n"
    assert careless.python("-m", "flows.repair").stdout == "repair: DVC's cache is whole\n"


@pytest.mark.parametrize("broken", ["missing", "forbidden"])
def test_a_remote_that_cannot_be_used_fails_the_push_and_says_which(
    dvc_project: Project, tmp_path: Path, broken: str
) -> None:
    if broken == "forbidden":  # a file in the place of the folder: root may write everywhere else
        (tmp_path / "remote").write_text("")
        dvc(dvc_project, "remote", "add", "--default", "store", str(tmp_path / "remote"))
    dvc(dvc_project, "repro")
    result = dvc_project.python("-m", "dvc", "push")
    assert result.returncode != 0
    assert ("no remote specified" if broken == "missing" else "remote") in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture
def s3() -> Iterator[dict[str, str]]:
    """An S3 of this machine: its address, and credentials that it takes."""
    for name in ("moto.server", "dvc_s3", "boto3"):
        pytest.importorskip(name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            until(lambda: _answers(port))
            keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
            yield {"url": f"http://127.0.0.1:{port}", **keys}
        finally:
            server.terminate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


BUCKET = "import boto3, os; boto3.client('s3', endpoint_url=os.environ['URL']).create_bucket(Bucket='versions')"


def test_an_s3_remote_keeps_the_versions_too(dvc_project: Project, tmp_path: Path, s3: dict[str, str]) -> None:
    url = s3.pop("url")
    created = dvc_project.python("-c", BUCKET, URL=url, **s3)
    assert created.returncode == 0, created.stderr
    dvc(dvc_project, "remote", "add", "--default", "store", "s3://versions/db3")
    dvc(dvc_project, "remote", "modify", "store", "endpointurl", url)
    dvc(dvc_project, "repro")
    commit(dvc_project)
    dvc(dvc_project, "push", **s3)
    fresh = clone(dvc_project, tmp_path / "fresh")
    dvc(fresh, "pull", **s3)
    assert "up to date" in dvc(fresh, "status")


@pytest.mark.slow
def test_a_queue_of_experiments_runs_over_a_grid(dvc_project: Project) -> None:
    dvc(dvc_project, "repro")
    commit(dvc_project)
    dvc(dvc_project, "exp", "run", "--queue", "-S", "query.seed=1,2")
    dvc(dvc_project, "queue", "start", "--jobs", "1")
    until(lambda: "Queued" not in (shown := dvc(dvc_project, "queue", "status")) and "Running" not in shown)
    names, shown = dvc(dvc_project, "exp", "list", "--name-only").split(), dvc(dvc_project, "exp", "show", "--csv")
    assert len(names) == 2
    assert all(name in shown for name in names)


def test_outside_a_repository_dvc_says_so_in_one_line(project: Project) -> None:
    result = project.python("-m", "dvc", "repro")
    assert result.returncode != 0
    assert "you are not inside of a DVC repository" in result.stderr
    assert "Traceback" not in result.stderr
