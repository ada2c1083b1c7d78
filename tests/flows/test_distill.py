"""The stage distill with several processes a training, from the smoke experiment's folders before it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file

from db3.errors import ConfigError
from flows.compose import compose
from flows.config import Config, parse_config
from flows.distill import distill
from flows.query_decisions import query_decisions
from flows.soft_labels import soft_labels
from tests.flows.conftest import until
from tests.flows.modules import ROOT

SMALL = (
    "experiment=smoke",
    "samples.count=20",
    "dataset.train_limit=300",
    "dataset.test_limit=50",
    "query.method=bd",
    "query.budget=12",
    "query.augmented=0",
    "soft_labels.boundary_points=0.25",
    "soft_labels.queried_images=0.2",
    "distill.architecture=lenet5_fifth",
    "distill.steps=25",
    "distill.batch=27",
    "distill.baselines=[]",
    "distill.curve=false",
    "distill.assistants.networks=1",
    "distill.assistants.architecture=lenet5_fifth",
    "distill.assistants.steps=20",
    "distill.assistants.images=60",
    "distill.assistants.share=0.25",
    "evaluate.seeds=1",
)


def configured(*overrides: str) -> Config:
    return parse_config(yaml.safe_load(compose([*SMALL, *overrides], ROOT / "conf")))


@pytest.fixture(scope="module")
def searched(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a transfer set."""
    folder = tmp_path_factory.mktemp("searched")
    shutil.copytree(taught, folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for stage in (query_decisions, soft_labels):
            (folder / "data" / stage.folder).mkdir()
            stage(configured(), folder / "data")
    return folder / "data"


@pytest.fixture
def data(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in a folder with no shard store yet."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(searched, tmp_path / "data"))


def distilled(data: Path, *overrides: str) -> dict[str, Any]:
    """What the stage wrote: student.json and the weights of every variant."""
    shutil.rmtree(data / "student", ignore_errors=True)
    (data / "student").mkdir()
    line = distill(configured(*overrides), data)
    variants = {
        path.parent.name: load_file(path) for path in sorted((data / "student").rglob("variants/*/*.safetensors"))
    }
    return {"card": json.loads((data / "student" / "student.json").read_text()), "variants": variants, "line": line}


def test_two_processes_distil_the_students_of_one_to_the_last_bit(data: Path) -> None:
    """Neither processes nor threads are part of a key."""
    one = distilled(data)
    shards = set(Path(".db3/shards").rglob("*.npz"))
    shutil.rmtree(".db3/shards")
    two = distilled(data, "runtime.processes=2", "runtime.threads=2")
    for variant, weights in one["variants"].items():
        for name, tensor in weights.items():
            assert torch.equal(two["variants"][variant][name], tensor), name
    assert one["card"] == two["card"]
    assert set(Path(".db3/shards").rglob("*.npz")) == shards
    told = json.loads((data / "environment.json").read_text())["distill"]
    assert (told["processes"], told["threads"]) == (2, 2)


def test_two_processes_distil_the_students_of_one_up_to_rounding_in_float32(data: Path) -> None:
    one, two = (distilled(data, "distill.arithmetic=float32", f"runtime.processes={n}") for n in (1, 2))
    assert one["variants"].keys() == two["variants"].keys() == {"student"}
    for variant, weights in one["variants"].items():
        for name, tensor in weights.items():
            torch.testing.assert_close(two["variants"][variant][name], tensor, rtol=1e-3, atol=2e-5)
    for card in (one["card"], two["card"]):
        del card["digest"], card["onnx"]["digest"]  # of other bits
    assert one["card"] == two["card"]
    assert one["card"]["arithmetic"] == "float32"
    # Other bits are other shards: what one process has trained is not taken for what two would.
    shards = set(Path(".db3/shards").rglob("*.npz"))
    assert len(shards) == 2 * (1 + 1)
    distilled(data, "distill.arithmetic=float32", "runtime.processes=2")
    assert set(Path(".db3/shards").rglob("*.npz")) == shards


def test_an_automatic_student_is_told_by_name_and_warned_of(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    short = ["distill.assistants.networks=0", "distill.onnx=false"]
    card = distilled(data, *short, "distill.architecture=auto", "distill.steps=2")["card"]
    assert card["architecture"] == "lenet5_half"
    assert "each of the" in caplog.text
    steps = json.loads((data / "student" / "variants.json").read_text())[0]["steps"]
    assert steps == 2
    caplog.clear()
    distilled(data, *short, "distill.architecture=lenet5", "distill.steps=2")
    assert "no smaller than the teacher: 187,780 parameters against 187,780" in caplog.text


@pytest.mark.parametrize(("processes", "told"), [("0", "processes is 0"), ("5", "5, but a batch holds 4 images")])
def test_a_number_of_processes_that_cannot_be_served_is_refused(data: Path, processes: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        distilled(data, f"runtime.processes={processes}", "distill.batch=4")
    assert not Path(".db3").exists()


def test_a_killed_process_ends_the_stage_in_one_line_and_leaves_nothing(data: Path) -> None:
    settings = ["runtime.processes=2", "runtime.runner=local", "distill.steps=1000000", "distill.assistants.networks=0"]
    (data.parent / "params.yaml").write_text(compose([*SMALL, *settings], ROOT / "conf"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DB3_", "DVC_"))}
    stage = subprocess.Popen(
        [sys.executable, "-m", "flows.distill"],
        cwd=data.parent,
        env=kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with stage:
        until(lambda: stage.poll() is not None or len(training(stage.pid)) == 2)
        ranks = training(stage.pid)
        ranks[1].kill()
        output, errors = stage.communicate(timeout=60)
    assert stage.returncode == 1
    assert output == ""
    # A slow machine's progress stands before it; after it Python's tracker may tell of what the killed process held.
    own = [line for line in errors.splitlines() if "resource_tracker" not in line and "warnings.warn" not in line]
    last = own[-1]
    assert re.fullmatch(r"error: process 1 of the 2 that train a network was ended by SIGKILL.*", last), errors
    assert psutil.wait_procs(ranks, timeout=30)[1] == []
    assert [path for path in (data / "student").rglob("*") if path.is_file()] == []


def training(stage: int) -> list[psutil.Process]:
    """The processes of a stage that train together: those with a connection to another."""
    return [
        child
        for child in psutil.Process(stage).children(recursive=True)
        if "forkserver" in " ".join(child.cmdline())
        and any(connection.status == "ESTABLISHED" for connection in child.net_connections("inet"))
    ]


def test_the_student_is_chosen_on_samples_held_out_and_the_choice_is_told(data: Path) -> None:
    few = ("distill.baselines=[hard]", "distill.assistants.networks=0", "distill.steps=10", "distill.batch=10")
    assert "chosen among no others" not in distilled(data, *few, "distill.folds=2")["line"]
    choice = json.loads((data / "student" / "choice.json").read_text())
    assert choice["samples"] == 20
    assert [each["name"] for each in choice["candidates"]] == ["student", "hard"]
    assert 0 < json.loads((data / "decisions" / "manifest.json").read_text())["boundary"] < 2
    assert "reason" not in choice
    unchosen = _choice(data, *few, "distill.folds=0")
    assert "candidates" not in unchosen
    assert unchosen["reason"] == "distill.folds is 0"
    assisted = ("distill.assistants.networks=1", "distill.assistants.steps=2")  # which learnt from every sample
    line = distilled(data, *few, "distill.folds=3")["line"]
    assert line.endswith(
        "chosen among no others: 20 samples are too few to hold out: 3 folds (distill.folds) take 24 or more"
    )
    assert "learnt from every sample" in _choice(data, *few, *assisted, "distill.folds=2")["reason"]


def _choice(data: Path, *overrides: str) -> dict[str, Any]:
    distilled(data, *overrides)
    found: dict[str, Any] = json.loads((data / "student" / "choice.json").read_text())
    return found
