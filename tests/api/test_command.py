"""`db3 distill`, `estimate` and `results` as a user types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import db3
from tests.api.test_distill import IMAGES

ROOT = Path(__file__).resolve().parents[2]
VENDOR = """
import os
import numpy as np

def classify(images):
    with open("asked.log", "a") as file:
        print(len(images), file=file)
    if os.environ.get("BROKEN"):
        raise SystemError("out of order")
    return images.reshape(len(images), 2, 8, 2, 8).mean(axis=(2, 4)).reshape(len(images), 4).argmax(axis=1)
"""
QUICK = ["--set", "distill.steps=40", "--set", "distill.warmup=5", "--set", "samples.rounds.steps=5"]
QUICK += ["--set", "samples.rounds.count=2", "--student", "lenet5_fifth", "--name", "vendor-7"]
MODEL = ["vendor:classify", "images.npy", "--shape", "1", "16", "16", "--classes", "4", "--queries", "300"]


def run(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", "from db3.cli import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vendor.py").write_text(VENDOR)
    np.save(tmp_path / "images.npy", IMAGES)
    return tmp_path


def test_estimate_asks_nothing_and_distill_keeps_to_it(folder: Path) -> None:
    estimate = run(folder, "estimate", *MODEL, *QUICK, "--price", "1.5")
    assert estimate.returncode == 0, estimate.stderr
    assert "in all            300  images asked" in estimate.stdout
    assert "cost       0.45" in estimate.stdout
    assert not (folder / "asked.log").exists()
    done = run(folder, "distill", *MODEL, *QUICK, "--folder", "run", "--gate", "0.05")
    assert done.returncode == 0, done.stderr
    assert "300 queries asked" in done.stdout
    sent = sum(map(int, (folder / "asked.log").read_text().split()))
    told = json.loads((folder / "run" / "result.json").read_text())
    assert told["queries"] == {"asked": 300, "sent": sent, "input_tokens": 0, "output_tokens": 0}
    student = db3.open_student(folder / "run" / "student")
    assert student.predict(IMAGES).shape == (80,)
    assert "gate" in json.loads((folder / "run" / "student" / "student.json").read_text())
    listed = run(folder, "results")
    assert listed.stdout.splitlines()[1].split()[-1] == "run"
    assert f"{told['agreement']:.2%}" in listed.stdout


def test_what_fails_is_one_line_and_is_gone_on_with(folder: Path) -> None:
    broken = run(folder, "distill", *MODEL, *QUICK, "--folder", "run", BROKEN="1")
    assert broken.returncode == 1
    line = broken.stderr.strip().splitlines()[-1]
    assert line.startswith("db3 distill: the function classify failed")
    assert "out of order" in line
    again = run(folder, "distill", *MODEL, *QUICK, "--folder", "run")  # each of the five attempts was counted
    assert again.returncode == 1
    assert "limit does not pay for all queries" in again.stderr
    assert run(folder, "distill", *MODEL, *QUICK, "--folder", "run", "--limit", "500").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["distill", *MODEL, "--folder", "run", "--set", "qery.method=bd"], "did you mean"),
        (["distill", *MODEL, "--folder", "run", "--set", "steps"], "'steps' has no value; expected NAME=VALUE"),
        (["distill", *MODEL, "--folder", "run", "--teacher", "meen=0.5"], "did you mean teacher.mean?"),
        (["distill", "no_module:classify", *MODEL[1:], "--folder", "run"], "no_module cannot be imported"),
        (["distill", MODEL[0], "nowhere/", *MODEL[2:], "--folder", "run"], "nowhere is not there"),
        (["estimate", *MODEL[:-1], "3"], "raise queries, or lower held_out"),
        (["results", "nowhere"], "there is no result.json in nowhere"),
    ],
)
def test_wrong_input_is_one_line(folder: Path, arguments: list[str], message: str) -> None:
    done = run(folder, *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
