"""The call shape `auto` is measured once and kept; a training that was killed goes on."""

import json
import signal
from pathlib import Path

import pytest
import yaml

from db3.teachers.adapters.call_shape import FORMATS
from db3.teachers.folder import open_teacher
from flows.compose import compose
from flows.config import parse_config
from flows.fetch_teacher import CALL_SHAPES, fetch_teacher
from tests.flows.modules import ROOT
from tests.flows.test_repro import Clone


def test_an_automatic_call_shape_is_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    measured = ["teacher.call_batch=auto", "teacher.arithmetic=float32"]
    overrides = ["experiment=smoke", "teacher.steps=2", *measured, "dataset.train_limit=100"]
    config = parse_config(yaml.safe_load(compose(overrides, ROOT / "conf")))
    data = tmp_path / "data"
    (data / "teacher").mkdir(parents=True)
    fetch_teacher(config, data)
    (kept,) = CALL_SHAPES.iterdir()
    found = json.loads(kept.read_text())
    card = json.loads((data / "teacher" / "teacher.json").read_text())
    assert {name: card[name] for name in found} == found
    assert open_teacher(data / "teacher").spec.max_batch == found["call_batch"]

    other = next(name for name in FORMATS if name != found["memory_format"])
    kept.write_text(json.dumps({"call_batch": 48, "memory_format": other}))
    fetch_teacher(config, data)
    again = json.loads((data / "teacher" / "teacher.json").read_text())
    assert (again["call_batch"], again["memory_format"]) == (48, other)
    assert again["identity"] != card["identity"]


# The stage as its command runs it, but that it keeps its state at once and is killed after so many steps.
KILLED = """
import os, signal, sys
from db3.training.checkpoint import Checkpoint
from db3.training.exact_learner import ExactLearner
from flows.fetch_teacher import fetch_teacher
Checkpoint.pause = 0.0
end, step = int(sys.argv.pop()), ExactLearner.step
def stepped(self, images, targets, number, lr):
    if number == end:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, images, targets, number, lr)
ExactLearner.step = stepped
fetch_teacher.cli()
"""


def test_a_stage_that_was_killed_goes_on_and_writes_the_same_bytes(tmp_path: Path) -> None:
    clone = Clone(tmp_path, "teacher.steps=12", "dataset.train_limit=100", "teacher.label_smoothing=0.1")
    assert clone.run("-c", KILLED, "7").returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".db3/trainings/*/*.npz"))) == 1
    done = clone.run("-m", "flows.fetch_teacher")
    assert done.returncode == 0, done.stderr
    assert "fetch_teacher from step 7 on: 5/5 step" in done.stderr
    assert not list(tmp_path.glob(".db3/trainings/*/*.npz"))
    written = {path.name: path.read_bytes() for path in (tmp_path / "data" / "teacher").glob("*.*")}
    assert clone.run("-m", "flows.fetch_teacher").returncode == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "data" / "teacher").glob("*.*")} == written
