"""The test split costs queries too: counted, within the budget, each sent once."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from db3.digest import digest_file
from db3.errors import ConfigError, DataError
from flows.distill import distill
from flows.evaluate import evaluate
from flows.report import report
from flows.soft_labels import soft_labels
from flows.student_files import check_students
from tests.flows.test_searches import configured, searched

SMALL = ("query.method=bd", "distill.baselines=[hard]", "distill.curve=false", "runtime.latency_runs=0")


@pytest.fixture
def distilled(data: Path, arrived: list[int]) -> Path:
    """A data folder with a student; what it cost has been counted and forgotten."""
    searched(data, *SMALL)
    for stage in (soft_labels, distill):
        (data / stage.folder).mkdir()
        stage(configured(*SMALL), data)
    arrived.clear()
    return data


def evaluated(data: Path, *overrides: str) -> tuple[str, dict[str, Any]]:
    shutil.rmtree(data / "evaluation", ignore_errors=True)
    (data / "evaluation").mkdir()
    line = evaluate(configured(*SMALL, *overrides), data)
    metrics: dict[str, Any] = json.loads((data / "evaluation" / "metrics.json").read_text())
    return line, metrics


def coverage(data: Path) -> list[dict[str, str]]:
    with (data / "evaluation" / "coverage.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_test_image_is_sent_once(distilled: Path, arrived: list[int]) -> None:
    line, metrics = evaluated(distilled)
    assert sum(arrived) == metrics["queries"]["evaluation"] == metrics["test_images"] == 50
    assert "the teacher was asked about 50 test images; " in line
    line, again = evaluated(distilled)
    assert (sum(arrived), again) == (50, metrics)
    assert "50 test images, 50 of them known already" in line


def test_it_stays_within_the_budget_and_does_without_where_that_is_too_small(
    distilled: Path, arrived: list[int]
) -> None:
    transfer = json.loads((distilled / "transfer" / "manifest.json").read_text())
    before = transfer["queries"]["votes"]
    line, metrics = evaluated(distilled, f"budget.total={before + 49}")
    assert arrived == []
    assert coverage(distilled) == []
    assert f"budget.total of {before + 49:,} leaves 49 queries for 50 test images" in line
    assert metrics["student"]["accuracy"]["mean"] > 0
    assert metrics["student"]["agreement"] is metrics["teacher"]["accuracy"] is None
    assert metrics["queries"]["evaluation"] == 0
    (distilled / "report").mkdir()
    report(configured(*SMALL), distilled)
    page = (distilled / "report" / "index.html").read_text()
    assert "The budget left too few queries to ask the teacher about the test images" in page
    _, metrics = evaluated(distilled, f"budget.total={before + 50}")
    assert sum(arrived) == 50
    assert metrics["student"]["agreement"]["mean"] > 0


def test_the_exported_students_coverage_is_written_from_the_decisions_already_paid_for(
    distilled: Path, arrived: list[int]
) -> None:
    evaluated(distilled)
    rows = coverage(distilled)
    assert sum(arrived) == 50
    assert [float(row["coverage"]) for row in rows] == sorted(float(row["coverage"]) for row in rows)
    with (distilled / "evaluation" / "accuracy.csv").open(newline="") as file:
        first = next(row for row in csv.DictReader(file) if (row["variant"], row["seed"]) == ("student", "0"))
    assert (rows[-1]["coverage"], rows[-1]["agreement"]) == ("1.000000", first["agreement"])
    before = (distilled / "evaluation" / "coverage.csv").read_bytes()
    evaluated(distilled, "evaluate.batch=7")
    assert (distilled / "evaluation" / "coverage.csv").read_bytes() == before


def test_few_questions_give_an_interval_and_narrow_it_by_what_was_not_asked(
    distilled: Path, arrived: list[int]
) -> None:
    _, whole = evaluated(distilled)
    arrived.clear()
    line, metrics = evaluated(distilled, "evaluate.questions=30", "runtime.answers=off")
    found = metrics["certified"]
    assert sum(arrived) == metrics["queries"]["evaluation"] == found["asked"] == 30
    assert metrics["test_images"] == 50
    assert metrics["student"]["accuracy"] == whole["student"]["accuracy"]  # labels cost nothing: of all images
    assert "certified" not in whole
    assert found["method"] == "prediction-powered"
    assert 0 <= found["low"] <= found["estimate"] <= found["high"] <= 1
    assert found["low"] <= whole["student"]["agreement"]["mean"] <= found["high"]
    assert "30 questions, prediction-powered)" in line
    with (distilled / "evaluation" / "confusion.csv").open(newline="") as file:
        assert sum(int(row["count"]) for row in csv.DictReader(file)) == 30
    (distilled / "report").mkdir()
    report(configured(*SMALL), distilled)
    page = (distilled / "report" / "index.html").read_text()
    assert "The teacher was asked about 30 of 50 test images, drawn at random" in page
    assert "on 30 of 50 test images" in page


def test_questions_for_all_images_ask_each_and_the_interval_is_exact(distilled: Path, arrived: list[int]) -> None:
    _, whole = evaluated(distilled)
    _, metrics = evaluated(distilled, "evaluate.questions=50")
    found = metrics.pop("certified")
    assert metrics == whole
    assert (found["method"], found["asked"], found["effective"]) == ("exact", 50, 50)
    assert sum(arrived) == 50


def test_a_budget_too_small_for_all_test_images_pays_for_a_few(distilled: Path, arrived: list[int]) -> None:
    before = json.loads((distilled / "transfer" / "manifest.json").read_text())["queries"]["votes"]
    _, metrics = evaluated(distilled, f"budget.total={before + 20}", "evaluate.questions=20")
    assert sum(arrived) == metrics["queries"]["evaluation"] == 20
    assert metrics["student"]["agreement"]["mean"] > 0


def test_without_labels_nothing_is_left_to_measure(
    distilled: Path, arrived: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from db3.datasets.base import Dataset, Part

    whole = Dataset.test
    monkeypatch.setattr(Dataset, "test", lambda self: Part(whole(self).images, None))
    told = r"50 test images, which have no labels either: raise it .* evaluate\.questions"
    with pytest.raises(ConfigError, match=told):
        evaluated(distilled, "budget.total=1")
    assert arrived == []


@pytest.mark.parametrize("file", ["student.safetensors", "student.onnx", "variants/hard/0.safetensors"])
def test_a_student_with_one_flipped_bit_is_neither_measured_nor_verified(
    distilled: Path, arrived: list[int], file: str
) -> None:
    card = json.loads((distilled / "student" / "student.json").read_text())
    _, metrics = evaluated(distilled)
    assert metrics["student"]["digest"] == card["digest"] == digest_file(distilled / "student" / "student.safetensors")
    path = distilled / "student" / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{file} has the digest"):
        check_students(distilled, card["transfer"])
    if file != "student.onnx":  # the file for other programs, which evaluate does not open
        with pytest.raises(DataError, match=rf"{file} has the digest"):
            evaluated(distilled)
