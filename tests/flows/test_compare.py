"""`db3 compare` of git revisions: DVC brings what each measured, and the workspace stays as it is."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from db3.errors import DataError
from db3.evaluation.results import (
    Metrics,
    QueryMetrics,
    Spread,
    StudentMetrics,
    TeacherMetrics,
    TransferMetrics,
)
from flows.compare import read_side
from flows.manifests import write_manifest


def measured(path: Path, accuracy: float) -> None:
    score = Spread(accuracy, 0.01)
    student = StudentMetrics(score, score, 10, 40, 100, "ab" * 32)
    queries, transfer = QueryMetrics(100, 5.0, False, 50), TransferMetrics("cd" * 32)
    write_manifest(path, Metrics(TeacherMetrics(0.99, 20, 80, 200), student, queries, transfer, {}, (), 50, 3))


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def test_a_folder_without_a_finished_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no finished run, since .*metrics\.json is missing; run `dvc repro`"):
        read_side(str(tmp_path))


def test_a_revision_is_read_from_dvcs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    metrics = Path("data/evaluation/metrics.json")
    metrics.parent.mkdir(parents=True)
    git, dvc = ("git", "-c", "user.name=t", "-c", "user.email=t@localhost"), (sys.executable, "-m", "dvc")
    run(*git, "init", "-q")
    run(*dvc, "init", "-q")
    measured(metrics, 0.8)
    Path("params.yaml").write_text("query: {budget: 3}\n", encoding="utf-8")
    run(*dvc, "add", "-q", str(metrics))
    run(*git, "add", "--all")
    run(*git, "commit", "-q", "-m", "first")
    metrics.unlink()
    measured(metrics, 0.9)
    Path("params.yaml").write_text("query: {budget: 4}\n", encoding="utf-8")

    here, there = read_side("."), read_side("HEAD")
    scores: list[Any] = [side.variants["student"].accuracy for side in (here, there)]
    assert [score.mean for score in scores] == [0.9, 0.8]
    assert [side.parameters["query.budget"] for side in (here, there)] == ["4", "3"]
    assert json.loads(metrics.read_text())["student"]["accuracy"]["mean"] == 0.9

    with pytest.raises(
        DataError, match=r"'nowhere' is no folder, and DVC has no data/evaluation/metrics.json of it"
    ) as no:
        read_side("nowhere")
    assert "()" not in str(no.value)
    shutil.rmtree(".dvc/cache")
    with pytest.raises(DataError, match=r"'HEAD' is no folder, and DVC has no data/evaluation/metrics.json"):
        read_side("HEAD")
