"""The page: well-formed, self-contained, true to metrics.json, safe, stable, and whole without its options."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from db3.errors import DataError
from db3.report import build_report
from flows.report import read_run

VOID = {"meta", "link", "img", "br", "input", "hr"}
SECTIONS = ["results", "queries", "confusion", "trust", "distances", "labels", "search", "training", "provenance"]
PARAMS = {
    "dataset": {"name": "digits", "root": "/home/somebody/data", "size": None},
    "distill": {"weights": {"ce": 0.0, "kl": 1.0}, "baselines": ["hard", "kd"], "curve": True},
    "runtime": {"workers": 7, "device": "cuda:3"},
}


class Page(HTMLParser):
    """Ids, links and text of a page; refuses tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.rows: dict[str, list[str]] = {}
        self.row: str | None = None
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.tags.add(tag)
        self.ids += [found["id"]] if found.get("id") else []
        self.links += [found[name] or "" for name in ("src", "href", "action", "data", "srcset") if name in found]
        if tag == "img":
            assert found.get("alt")
        if tag == "svg":
            assert found.get("role") == "img"
            assert found.get("aria-label")
        if tag == "tr":
            self.row = found.get("data-variant")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if "tr" in self.open and self.row and data.strip():
            self.rows.setdefault(self.row, []).append(data.replace("\N{NO-BREAK SPACE}", " ").strip())


def page_of(data: Path, params: dict | None = None) -> tuple[str, Page]:
    text = build_report(read_run(data), params)
    return text, Page(text)


def test_all_sections_are_there_and_every_link_in_the_page_ends_somewhere(write_run) -> None:  # noqa: ANN001
    _, page = page_of(write_run())
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_the_page_needs_nothing_from_outside(write_run) -> None:  # noqa: ANN001
    text, page = page_of(write_run())
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert not page.tags & {"script", "iframe", "object", "embed"}
    assert not re.search(r"https?://|@import|url\(", text)
    assert len(text.encode()) < 1_500_000


def test_the_table_tells_the_numbers_of_the_metrics(write_run) -> None:  # noqa: ANN001
    data = write_run()
    _, page = page_of(data)
    metrics = json.loads((data / "evaluation/metrics.json").read_text())
    entries = {"student": metrics["student"], **metrics["baselines"]}
    assert set(page.rows) == {"teacher", *entries}
    assert f"{100 * metrics['teacher']['accuracy']:.1f}" in page.rows["teacher"]
    for name, values in entries.items():
        for key in ("accuracy", "agreement"):
            told = f"{100 * values[key]['mean']:.1f} ± {100 * values[key]['sd']:.1f}"
            assert told in page.rows[name]
    assert [row for row, texts in page.rows.items() if "not available from a black box" in texts] == ["kd"]
    assert list(page.rows)[-1] == "kd"


def test_the_provenance_names_every_digest(write_run) -> None:  # noqa: ANN001
    text, _ = page_of(write_run())
    for digest in ("7e", "d1", "5a", "b0", "c3"):
        assert digest * 32 in text


def test_parameters_are_told_without_folders_and_runtime(write_run) -> None:  # noqa: ANN001
    text, page = page_of(write_run(), PARAMS)
    assert "weights.kl" in text
    assert "hard, kd" in text
    assert "…/data" in text
    assert "somebody" not in text
    assert "cuda:3" not in text
    assert "Parameters" in page.texts


def test_a_hostile_name_stays_text(write_run) -> None:  # noqa: ANN001
    hostile = '<script>alert("x")</script>'
    data = write_run(names=[hostile, "a&b", "'\"><img src=x>", *map(str, range(3, 10))])
    variants = json.loads((data / "student/variants.json").read_text())
    variants[1]["title"] = hostile
    (data / "student/variants.json").write_text(json.dumps(variants))
    text, page = page_of(data, {"dataset": {"name": hostile}})
    assert "<script" not in text
    assert "<img src=x>" not in text
    assert hostile in page.texts


def test_two_builds_give_the_same_bytes(write_run, tmp_path: Path) -> None:  # noqa: ANN001
    data = write_run()
    other = shutil.copytree(data, tmp_path / "elsewhere")
    page = build_report(read_run(data), PARAMS)
    assert page == build_report(read_run(other), {**PARAMS, "runtime": {"workers": 1}})
    assert str(tmp_path) not in page


@pytest.mark.parametrize(
    "options",
    [
        {"classes": 2, "shape": (3, 32, 32), "count": 20},
        {"classes": 102, "shape": (3, 120, 100), "count": 204},
        {"classes": 300, "shape": (1, 8, 8), "count": 300},
        {"checkpoints": ()},
        {"baselines": ("hard", "smoothing")},
        {"baselines": (), "seeds": 1},
        {"labelled": False},
        {"local": False},
        {"labelled": False, "local": False, "baselines": (), "checkpoints": ()},
        {"unreached": 1.0},
        {"budget": 0, "checkpoints": ()},
        {"count": 3},
        {"tests": 10_000},
    ],
    ids=str,
)
def test_every_shape_of_run_gives_a_whole_page(write_run, options: dict) -> None:  # noqa: ANN001
    text, page = page_of(write_run(**options))
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    assert not re.search(r"\b(nan|None|inf|Undefined)\b", " ".join(page.texts))
    assert not re.search(r'="[^"]*\b(nan|inf)\b', text)
    assert len(text.encode()) < 1_500_000


def test_without_labels_students_are_ranked_by_agreement(write_run) -> None:  # noqa: ANN001
    data = write_run(labelled=False)
    text, page = page_of(data)
    agreement = json.loads((data / "evaluation/metrics.json").read_text())["student"]["agreement"]
    assert f"{100 * agreement['mean']:.1f} ± {100 * agreement['sd']:.1f}" in page.rows["student"]
    assert "Agreement against queries" in text
    assert "teacher" not in page.rows


@pytest.mark.parametrize("gone", ["student/history.csv", "decisions/distances_at.npy"])
def test_optional_files_may_be_absent(write_run, gone: str) -> None:  # noqa: ANN001
    data = write_run()
    (data / gone).unlink()
    _, page = page_of(data)
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS


@pytest.mark.parametrize(
    "gone",
    [
        "teacher/teacher.json", "samples/manifest.json", "decisions/manifest.json", "decisions/distances.npy",
        "decisions/asked.npy", "transfer/manifest.json", "transfer/images.npy", "transfer/soft_labels.npy",
        "transfer/decisions.npy", "student/student.json", "student/variants.json", "evaluation/metrics.json",
        "evaluation/confusion.csv", "evaluation/accuracy.csv", "evaluation/coverage.csv",
    ],
)  # fmt: skip
def test_a_missing_file_is_named_in_one_line(write_run, gone: str) -> None:  # noqa: ANN001
    data = write_run(count=20)
    (data / gone).unlink()
    with pytest.raises(DataError) as caught:
        read_run(data)
    assert str(data / gone) in str(caught.value)
    assert "\n" not in str(caught.value)
