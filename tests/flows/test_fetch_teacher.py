"""The call shape `auto`: measured once, kept, and part of the teacher's identity."""

import json
from pathlib import Path

import pytest
import yaml

from db3.teachers.adapters.call_shape import FORMATS
from db3.teachers.folder import open_teacher
from flows.compose import compose
from flows.config import parse_config
from flows.fetch_teacher import CALL_SHAPES, fetch_teacher
from tests.flows.modules import ROOT


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
