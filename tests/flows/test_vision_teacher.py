"""A vision-language model through the pipeline: what it refuses is a class, or left out, and always counted."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from db3.errors import DataError
from db3.files import read_json, write_json
from flows.compose import compose
from flows.config import parse_config
from flows.distill import distill
from flows.evaluate import evaluate
from flows.fetch_teacher import fetch_teacher
from flows.query_decisions import query_decisions
from flows.report import report
from flows.samples import samples
from flows.soft_labels import soft_labels
from flows.verify import verify
from tests.teachers.stand_ins import OpenAi, standing_in

ROOT = Path(__file__).resolve().parents[2]
PRICES = ("runtime.price.queries=2", "runtime.price.input_tokens=3", "runtime.price.output_tokens=15")
DIGITS = [str(k) for k in range(10)]


@pytest.fixture
def vision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)  # where the shard store goes
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with standing_in(OpenAi, "/v1/chat/completions", DIGITS) as server:
        yield server


@pytest.mark.parametrize("unclear", ["reject", "skip"])
def test_200_images_end_to_end(vision: Any, unclear: str) -> None:
    given = [
        "experiment=smoke",
        "runtime.workers=1",
        "query=none",
        "samples.count=200",
        "samples.missing_classes=allow",
    ]
    given += [
        "samples.missing_classes=allow",
        "distill.baselines=[hard]",
        "distill.onnx=false",
        "dataset.test_limit=50",
    ]
    given += ["teacher=openai", f"teacher.http.url={vision.url}", "teacher.http.model=m", f"teacher.unclear={unclear}"]
    config, data = (
        parse_config(yaml.safe_load(compose([*given, "teacher.resize=[16,16]", *PRICES], ROOT / "conf"))),
        Path("data"),
    )
    assert vision.requests == []
    vision.refuses, vision.labels = {8}, [*DIGITS[:4], "four", *DIGITS[5:]]
    fetch_teacher.run(config, data)
    told = samples(config, data)
    manifest, counts = read_json(data / "samples/manifest.json"), read_json(data / "queries.json")["samples"]
    rejected = counts["nothing"] + counts["off_list"]
    assert counts["nothing"] > 0
    asked = len(vision.requests)
    assert (counts["input_tokens"], counts["output_tokens"]) == (90 * asked, 10 * asked)
    cost = (2 * 200 / 1000) + (3 * 90 + 15 * 10) * asked / 1e6
    assert counts["cost"] == pytest.approx(cost)
    assert f", {90 * asked:,} input and {10 * asked:,} output tokens, cost {cost:.2f} in all" in told
    assert manifest["class_names"] == [*DIGITS, "rejected"]
    assert f"counted as `rejected`: {counts['nothing']} named no class" in told
    decisions = np.load(data / "samples/decisions.npy")
    if unclear == "skip":
        assert (manifest["skipped"], len(decisions), (decisions == 10).sum()) == (rejected, 200 - rejected, 0)
        assert f"{rejected} images left out, which the teacher gave no class" in told
    else:
        assert (manifest["decided"]["rejected"], len(decisions)) == (rejected, 200)
    for stage in (query_decisions, soft_labels, distill, evaluate):
        stage.run(config, data)
    assert read_json(data / "student/student.json")["classes"] == 11
    assert read_json(data / "evaluation/metrics.json")["student"]["agreement"]["mean"] is not None
    assert "; the queries have cost " in report(config, data)
    digest = read_json(data / "transfer/manifest.json")["digest"]
    assert verify(config, data).digest == digest
    changed = read_json(data / "samples/manifest.json")
    if unclear == "skip":  # what it counts is proven, too, and that images are left out needs the dataset
        write_json(data / "samples/manifest.json", {**changed, "skipped": rejected + 1})
        with pytest.raises(DataError, match=r"images\.npy holds uint8"):
            verify(config, data)
        write_json(data / "samples/manifest.json", changed)
        gone = replace(config, runtime=replace(config.runtime, data_root="nowhere"))
        elsewhere = replace(gone, dataset=replace(config.dataset, name="mnist"))
        with pytest.raises(DataError, match=r"teacher\.unclear is skip, so samples are those images of the dataset"):
            verify(elsewhere, data)
