"""Damaged or mixed-up files are refused with one line that names them; arrays stay on the disk."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from db3.errors import DataError
from db3.report import build_report
from db3.report.formatting import number
from db3.report.provenance import facts
from flows.manifests import TransferManifest, TransferSize, read_manifest, write_manifest
from flows.report import read_run


def test_arrays_are_mapped_not_loaded(write_run) -> None:  # noqa: ANN001
    run = read_run(write_run(count=20))
    for array in (run.images, run.decisions, run.soft_labels, run.distances, run.asked, run.distances_at):
        assert isinstance(array, np.memmap)


def test_tables_are_read_as_numbers(write_run) -> None:  # noqa: ANN001
    run = read_run(write_run(count=20, tests=500, seeds=2, baselines=("hard",)))
    assert run.confusion.sum() == 500
    assert {(score.variant, score.seed) for score in run.scores} >= {("student", 0), ("student", 1), ("hard", 1)}
    assert run.losses[0].step == 10
    assert run.names == [str(k) for k in range(10)]


def damage_json(data: Path, name: str, key: str) -> None:
    value = json.loads((data / name).read_text())
    del value[key]
    (data / name).write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("name", "key"),
    [("teacher/teacher.json", "classes"), ("evaluation/metrics.json", "student"), ("transfer/manifest.json", "digest")],
)
def test_a_missing_key_is_named(write_run, name: str, key: str) -> None:  # noqa: ANN001
    data = write_run(count=20)
    damage_json(data, name, key)
    with pytest.raises(DataError, match=f"{name}: {key} is missing; delete its folder and run the stage"):
        read_run(data)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("evaluation/confusion.csv", "teacher,student,count\n0,10,3\n", r"'0,10,3'; expected two classes in 0 … 9"),
        ("evaluation/confusion.csv", "teacher,student\n0,1\n", "lacks the column count"),
        ("evaluation/accuracy.csv", "variant,seed,accuracy,agreement\nstudent,0,x,0.5\n", "no number"),
        ("evaluation/coverage.csv", "threshold,coverage,agreement,low,high\n1,x,1,1,1\n", "no number"),
        ("student/history.csv", "variant,seed,step,loss,lr\nstudent,0,1,,0\n", "no number"),
        ("student/variants.json", "{}", "the whole is {}: Input should be a valid"),
        ("student/variants.json", "[", "not valid JSON"),
    ],
)
def test_a_damaged_table_is_named(write_run, name: str, text: str, said: str) -> None:  # noqa: ANN001
    data = write_run(count=20)
    (data / name).write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        read_run(data)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["transfer/soft_labels.npy", "decisions/distances.npy", "transfer/images.npy"])
def test_an_array_of_another_run_is_refused(write_run, name: str) -> None:  # noqa: ANN001
    data = write_run(count=20)
    np.save(data / name, np.load(data / name)[:-1])
    with pytest.raises(DataError, match="belongs to another run") as caught:
        read_run(data)
    assert name in str(caught.value)


def test_of_bare_decisions_the_page_shows_what_distances_would_say(write_run) -> None:  # noqa: ANN001
    data = write_run(count=20)
    path = data / "transfer/manifest.json"
    held = TransferSize(20, queried_images=1234)
    manifest = replace(read_manifest(path, TransferManifest), mapping="hard", beta=None, samples_of=held)
    write_manifest(path, manifest)
    run = read_run(data)
    assert np.array_equal(run.soft_labels.argmax(axis=1), run.decisions)
    assert ((run.soft_labels > 0) & (run.soft_labels < 1)).any(axis=1).all()
    assert dict(facts(run))["Soft labels"] == f"bare decisions, {number(1234)} images asked, as decided"
    page = " ".join(build_report(run, {}).split())
    assert f"on {number(1234)} images that the search asked" in page
