"""Typed files: what is written is read again, a wrong field is named in one line, and the page of docs is current."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from db3.errors import DataError
from db3.soft_labels import alone
from flows.manifest_docs import BEGIN, BEGIN_FILES, END, PAGE, described, generated
from flows.manifests import (
    FILES,
    TransferManifest,
    TransferQueries,
    TransferSize,
    VariantEntry,
    read_manifest,
    to_json,
    write_manifest,
)
from tests.flows.modules import ROOT

MANIFEST = TransferManifest(
    "c3" * 32,
    "margin",
    alone("margin"),
    TransferSize(20, queried_images=7),
    TransferQueries(27, 30, 1.5),
    False,
    0,
    ("cat", "dog"),
    "7e" * 32,
    "5a" * 32,
    "b0" * 32,
    beta=0.71,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "transfer" / "manifest.json"
    write_manifest(path, MANIFEST)
    return path


def test_what_is_written_is_read_again(path: Path, tmp_path: Path) -> None:
    assert read_manifest(path, TransferManifest) == MANIFEST
    entries = (VariantEntry("student", "t", 91, True, (0, 1), 600, ("a", "b"), ("5a", "5b")),)
    write_manifest(tmp_path / "variants.json", entries)
    assert read_manifest(tmp_path / "variants.json", FILES["student/variants.json"]) == entries


def test_a_field_that_has_nothing_to_say_is_absent_and_one_that_is_not_known_is_null(path: Path) -> None:
    held = json.loads(path.read_text())
    assert held["samples_of"] == {"images": 20, "queried_images": 7}
    assert "temperature" not in held
    assert to_json(replace(MANIFEST, beta=None)).keys() == held.keys() - {"beta"}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("digest", None, "digest is null: Input should be a valid string"),
        ("spent", "no", 'spent is "no": Input should be a valid boolean'),
        ("unfinished", "3", 'unfinished is "3": Input should be a valid integer'),
        ("mapping", "margn", "mapping is \"margn\": Input should be 'hard', 'margin' or 'inverse'"),
        ("queries", {"asked": 1, "votes": 1}, "queries.per_sample is missing"),
        ("recipe", {**to_json(MANIFEST.recipe), "gap": []}, "recipe.gap is []: Input should be a valid number"),
    ],
)
def test_a_wrong_field_is_named_in_one_line(path: Path, name: str, value: object, told: str) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(DataError) as caught:
        read_manifest(path, TransferManifest)
    assert str(caught.value) == f"{path}: {told}; delete its folder and run the stage soft_labels again"


def test_a_missing_field_and_a_missing_file_are_named(path: Path) -> None:
    held = json.loads(path.read_text())
    del held["digest"]
    path.write_text(json.dumps(held))
    with pytest.raises(DataError, match="digest is missing; delete its folder and run the stage soft_labels again"):
        read_manifest(path, TransferManifest)
    path.unlink()
    with pytest.raises(DataError, match="cannot read"):
        read_manifest(path, TransferManifest)


def test_every_field_has_a_meaning_and_the_page_is_current() -> None:
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    assert generated(page) == page, "docs/pipeline.md is stale: run `python -m flows.manifest_docs`"
    assert all(f"`data/{name}`" in described() for name in FILES)


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(DataError, match="has lost the lines"):
        generated(f"{END} no beginning")
    page = generated(f"a {BEGIN_FILES} old {END} b {BEGIN} old {END} z")
    assert page.startswith(f"a {BEGIN_FILES}\n\n| folder |")
    assert f"{END} b {BEGIN}\n\n**`data/teacher/teacher.json`**" in page
