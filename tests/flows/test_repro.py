"""The real pipeline under the real DVC, shrunk by experiment=smoke: reruns, resumes and repeats byte for byte."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.compose import compose
from flows.data_files import ARRAYS, TABLES
from tests.flows.written import check_written

ROOT = Path(__file__).resolve().parents[2]
STAGES = ["fetch_teacher", "samples", "query_decisions", "soft_labels", "distill", "evaluate", "report"]
PARTS = ("db3", "flows", "conf", ".dvc/config", ".dvc/plots", ".dvcignore", "dvc.yaml", "data/.gitignore")


class Clone:
    """A checkout of this project in a folder of its own, with parameters of the smoke experiment."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.folder = folder
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / part, folder / part)
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        self.compose(*overrides)

    def compose(self, *overrides: str) -> None:
        params = compose(["experiment=smoke", *overrides], self.folder / "conf")
        (self.folder / "params.yaml").write_text(params, encoding="utf-8")

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment() | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DB3_"))}
        return kept | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])}

    def repro(self, **environment: str) -> list[str]:
        """Run `dvc repro`; the stages that DVC really ran."""
        done = self.run("-m", "dvc", "repro", **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return re.findall(r"Running stage '(\w+)'", done.stdout)

    def lock(self) -> bytes:
        return (self.folder / "dvc.lock").read_bytes()

    def read(self, file: str) -> dict[str, object]:
        content: dict[str, object] = json.loads((self.folder / "data" / file).read_text())
        return content


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = Clone(tmp_path_factory.mktemp("clone"))
    assert clone.repro() == STAGES
    return clone


def test_the_metrics_hold_what_the_report_and_the_docs_promise(clone: Clone) -> None:
    metrics, transfer = clone.read("evaluation/metrics.json"), clone.read("transfer/manifest.json")
    assert metrics["transfer"] == {"digest": transfer["digest"]}
    assert set(metrics["baselines"]) == {"hard", "inverse", "augmented", "kd"}  # type: ignore[call-overload]
    counted = {name: transfer["queries"][name] for name in ("asked", "per_sample")}  # type: ignore[index]
    assert metrics["queries"] == {**counted, "spent": False, "evaluation": metrics["test_images"]}
    decided = clone.read("decisions/manifest.json")["queries"]
    assert transfer["queries"]["asked"] == 60 + decided["asked"]  # type: ignore[index]
    assert decided["augmented"] == decided["asked"]  # type: ignore[index]
    for file in ("student/student.onnx", "student/README.md", "report/index.html", "evaluation/curve.csv"):
        assert (clone.folder / "data" / file).stat().st_size > 0


def test_every_file_is_listed_and_as_listed(clone: Clone) -> None:
    missing = {file.path for file in (*ARRAYS, *TABLES)} - check_written(clone.folder / "data")
    # Those of generated samples: tests/flows/test_made.py; of searches: tests/flows/test_searches.py.
    others = {f"samples/{name}.npy" for name in ("rounds", "sources", "margins", "snapshots", "pictured")}
    others |= {f"decisions/variation_{name}.npy" for name in ("images", "decisions", "keys")}
    assert {path for path in missing if "boundary_points" not in path} <= others


@pytest.mark.slow
def test_from_scratch_in_another_folder_order_and_number_of_workers_the_lock_is_the_same(
    clone: Clone, tmp_path: Path
) -> None:
    other = Clone(tmp_path, "runtime.runner=local", "runtime.shard=20")
    assert other.repro(DB3_SHARD_ORDER="reversed") == STAGES
    assert other.lock() == clone.lock()


def test_nothing_reruns_unless_it_changed_and_a_learning_rate_asks_no_query(clone: Clone) -> None:
    first = clone.lock()
    assert clone.repro() == []
    clone.compose("distill.lr=0.001")
    assert clone.repro() == ["distill", "evaluate", "report"]
    clone.compose()
    assert clone.repro() == []  # DVC's cache still holds the first run
    assert clone.lock() == first


@pytest.mark.slow
def test_interrupted_in_the_middle_of_the_queries_it_goes_on_with_the_finished_shards(
    clone: Clone, tmp_path: Path
) -> None:
    # A shard that takes a good part of a second, so that some are unfinished when the interrupt comes.
    search = ("query=mbd", "query.budget=200", "query.directions=20", "runtime.shard=4", "query.augmented=0")
    settings = (*search, "runtime.workers=1")
    broken = Clone(tmp_path / "broken", *settings)
    for folder in ("teacher", "samples"):
        shutil.copytree(clone.folder / "data" / folder, broken.folder / "data" / folder)
    whole = Clone(tmp_path / "whole", *settings)
    shutil.copytree(broken.folder / "data", whole.folder / "data", dirs_exist_ok=True)
    assert whole.run("-m", "flows.query_decisions").returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.query_decisions"],
        cwd=broken.folder,
        env=broken.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list((broken.folder / ".db3/shards").rglob("*.npz")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "interrupted" in told
    assert "Traceback" not in told
    finished = len(list((broken.folder / ".db3/shards").rglob("*.npz")))
    assert 1 <= finished < 15
    assert not (broken.folder / "data/decisions/manifest.json").exists()
    resumed = broken.run("-m", "flows.query_decisions")
    assert f"{finished} of 15 shards were already computed" in resumed.stdout, resumed.stderr
    assert broken.read("decisions/manifest.json") == whole.read("decisions/manifest.json")
