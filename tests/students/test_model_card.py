import re
from typing import Any

import numpy as np
import pytest
import torch

from db3.networks import build, count_parameters, multiply_adds, save_weights
from db3.students.export import TOLERANCE, check_parity, export_onnx
from db3.students.model_card import model_card

_SHAPE = (1, 28, 28)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A folder with both files of a student, and what its student.json says."""
    network = build("lenet5_fifth", _SHAPE, 10, seed=3)
    folder = tmp_path_factory.mktemp("student")
    save_weights(network, folder / "student.safetensors", {"architecture": "lenet5_fifth"})
    (folder / "student.onnx").write_bytes(model := export_onnx(network, _SHAPE))
    parity = check_parity(model, network, np.zeros((5, *_SHAPE), dtype=np.uint8))
    return {
        "architecture": "lenet5_fifth",
        "input_shape": list(_SHAPE),
        "classes": 10,
        "class_names": [f"digit {name}" for name in range(10)],
        "parameters": count_parameters(network),
        "folder": folder,
        "bytes": (folder / "student.safetensors").stat().st_size,
        "multiply_adds": multiply_adds(network, _SHAPE),
        "transfer": "ab" * 32,
        "teacher": "cd" * 32,
        "onnx": {"checked": parity.checked, "tolerance": TOLERANCE},
    }


def _snippets(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)


def test_both_snippets_load_the_same_student(exported: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(exported["folder"])
    pytorch, onnx = _snippets(model_card(exported, {}))
    loaded: dict[str, Any] = {}
    exec(pytorch, loaded)  # noqa: S102 - the snippets are what is tested
    served: dict[str, Any] = {}
    exec(onnx, served)  # noqa: S102
    assert loaded["decisions"].shape == served["decisions"].shape == (1,)
    with torch.inference_mode():
        logits = loaded["network"](torch.from_numpy(served["images"]))
    assert served["logits"] == pytest.approx(logits.numpy(), abs=1e-5)


def test_it_says_what_one_has_to_know(exported: dict[str, Any]) -> None:
    card = model_card(exported, {"steps": 600, "lr": 0.002, "mapping": "margin"})
    for said in (
        "7,964 parameters",
        "ab" * 32,
        "cd" * 32,
        "0: digit 0, 1: digit 1",
        "data/evaluation/metrics.json",
        "| steps | 600 |\n| lr | 0.002 |\n| mapping | margin |",
        "on 5 samples",
        f"{exported['bytes']:,} bytes",
        "may query",
    ):
        assert said in card


def test_without_onnx_it_shows_pytorch_alone(exported: dict[str, Any]) -> None:
    card = model_card({**exported, "onnx": None}, {})
    assert len(_snippets(card)) == 1
    assert "not exported" in card
    assert "onnxruntime" not in card


def test_many_classes_are_cut_short_and_strange_names_break_nothing(exported: dict[str, Any]) -> None:
    names = ["a|b", "two\nlines", "{braces}", *[f"c{index}" for index in range(99)]]
    card = model_card({**exported, "classes": 102, "class_names": names}, {})
    line = next(line for line in card.splitlines() if line.startswith("Classes: "))
    assert line.startswith("Classes: 0: `a\\|b`, 1: two lines, 2: {braces}, 3: c0")
    assert line.endswith("and 82 more in `student.json`.")
