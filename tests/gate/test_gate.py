"""Gates as text, inside ONNX files, and the curve that they are points of."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from torch import nn

from db3.errors import ConfigError, DataError
from db3.gate.curve import CoveragePoint, coverage_curve, write_coverage
from db3.gate.gate import Gate
from db3.gate.onnx_metadata import KEY, put_gate, read_gate
from db3.networks import build
from db3.students.export import check_parity, export_onnx

GATE = Gate(0.1 + 0.2, 0.99, 0.95, 0.75, 0.9971, 4000, 1.7)


def test_a_gate_survives_json_to_the_last_bit() -> None:
    assert Gate.from_json(GATE.to_json()) == GATE
    assert "\n" not in GATE.to_json()
    assert "answers 75.0% itself (score of 0.3 or more); at least 0.99 of these as the teacher" in str(GATE)


def test_a_model_card_tells_threshold_and_promise() -> None:
    card = GATE.to_markdown()
    assert card.startswith("## When to ask the teacher\n")
    assert f"is **{GATE.threshold!r}** or more" in card
    assert "at least 0.99 are decided as the teacher would, with\nconfidence 0.95" in card
    assert "75.0% were answered, 99.71% of them" in card


@pytest.mark.parametrize(
    "text", ["", "[1]", "{}", "null", GATE.to_json().replace("0.75", '"much"'), GATE.to_json().replace("4000", "1.5")]
)
def test_what_is_no_gate_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="a gate that cannot be read"):
        Gate.from_json(text)


def test_a_promise_that_is_no_share_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"agreement is 1\.2"):
        replace(GATE, agreement=1.2)
    with pytest.raises(ConfigError, match="confidence is 0; expected"):
        Gate.from_json(GATE.to_json().replace("0.95", "0.0"))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return build("lenet5_fifth", (1, 28, 28), 10, seed=0)


@pytest.fixture(scope="module")
def model(network: nn.Module) -> bytes:
    return export_onnx(network, (1, 28, 28))


def test_a_gate_travels_in_the_onnx_file_and_changes_no_answer(network: nn.Module, model: bytes) -> None:
    import onnxruntime

    assert read_gate(model) is None
    carrying = put_gate(model, GATE)
    assert read_gate(carrying) == GATE
    assert put_gate(carrying, GATE) == carrying == put_gate(put_gate(model, replace(GATE, threshold=0.5)), GATE)
    session = onnxruntime.InferenceSession(carrying, providers=["CPUExecutionProvider"])
    told = json.loads(session.get_modelmeta().custom_metadata_map[KEY])
    assert told["threshold"] == GATE.threshold
    check_parity(carrying, network, np.random.default_rng(0).integers(0, 256, (8, 1, 28, 28), dtype=np.uint8))


@pytest.mark.parametrize("bytes_", [b"", b"no model", b"\xff" * 40])
def test_what_is_no_onnx_model_is_refused(bytes_: bytes) -> None:
    with pytest.raises(DataError, match="no ONNX model"):
        put_gate(bytes_, GATE)


def test_the_curve_falls_from_the_surest_to_all() -> None:
    random = np.random.default_rng(0)
    scores = random.random(1000)
    agrees = random.random(1000) < 0.5 + 0.5 * scores
    curve = coverage_curve(scores, agrees, 20)
    assert [point.coverage for point in curve] == pytest.approx(np.arange(1, 21) / 20)
    for point in curve:
        kept = scores >= point.threshold
        assert point.agreement == pytest.approx(agrees[kept].mean())
        known = stats.binomtest(int(agrees[kept].sum()), int(kept.sum())).proportion_ci(0.95, method="exact")
        assert (point.low, point.high) == pytest.approx((known.low, known.high))
    assert curve[-1].agreement == agrees.mean() < curve[0].agreement


def test_equal_scores_share_a_point_and_nothing_is_refused() -> None:
    (point,) = coverage_curve(np.ones(30), np.arange(30) < 27)
    assert (point.coverage, point.agreement) == (1, 0.9)
    with pytest.raises(DataError, match="0 scores beside 0"):
        coverage_curve(np.ones(0), np.ones(0, bool))


def test_a_written_threshold_is_never_above_the_scores_it_stands_for(tmp_path: Path) -> None:
    curve = [CoveragePoint(0.9999999, 0.25, 1.0, 0.4, 1.0), CoveragePoint(0.5, 1.0, 2 / 3, 0.1, 0.9)]
    write_coverage(tmp_path / "c.csv", curve)
    assert (tmp_path / "c.csv").read_bytes() == (
        b"threshold,coverage,agreement,low,high\n"
        b"0.999999,0.250000,1.000000,0.400000,1.000000\n"
        b"0.500000,1.000000,0.666667,0.100000,0.900000\n"
    )
