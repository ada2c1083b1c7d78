"""Two runs side by side: what the table says, and that the page needs nothing else."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from db3.evaluation import Metrics
from db3.evaluation.results import Spread
from db3.report.compare import Side, Variant, build_comparison, compare, comparison_text, side_of
from flows.compare import write_comparison
from flows.manifests import read_manifest


def params(**values: Any) -> dict[str, Any]:
    return {"query": {"method": "auto", "budget": 7, **values}, "runtime": {"workers": 2}}


@pytest.fixture
def side(write_run) -> Side:  # noqa: ANN001
    metrics = read_manifest(write_run() / "evaluation/metrics.json", Metrics)
    return side_of("main", metrics, params())


def test_a_run_beside_itself_differs_in_nothing(side: Side) -> None:
    found = compare(side, replace(side, name="again"))
    assert found.parameters == []
    assert all(one == other for _, one, other in found.facts)
    assert {row.change for row in found.rows} == {"0.0"}
    assert found.rows[0].name == "student"
    assert comparison_text(found).endswith("none differs")


@pytest.mark.parametrize(
    ("mean", "seeds", "said"), [(0.9, 3, "+10.0, clear"), (0.802, 3, "+0.2, within noise"), (0.9, 1, "+10.0")]
)
def test_a_change_is_held_against_both_deviations(side: Side, mean: float, seeds: int, said: str) -> None:
    def changed(name: str, mean: float) -> Side:
        score = Spread(mean, 0.004)
        return replace(side, name=name, seeds=seeds, test_images=500, variants={"student": Variant(score, None, 65.0)})

    found = compare(changed("a", 0.8), changed("b", mean))
    assert (found.measure, [row.change for row in found.rows]) == ("accuracy", [said])


def test_variants_of_one_run_alone_are_shown_with_a_dash(side: Side) -> None:
    other = replace(side, name="other", variants={"student": side.variants["student"]})
    row = next(row for row in compare(side, other).rows if row.name == "hard")
    assert (row.scores[1], row.asked[1], row.change, row.strips[1]) == ("–", "–", "–", None)
    assert "strip" in build_comparison(side, other)


def test_without_labels_agreement_is_compared(write_run) -> None:  # noqa: ANN001
    metrics = read_manifest(write_run(labelled=False) / "evaluation/metrics.json", Metrics)
    side = side_of("a", metrics)
    assert compare(side, side).measure == "agreement"
    assert "<svg" not in build_comparison(side, side)


def test_folders_give_a_table_and_a_page_with_what_differs(write_run, tmp_path: Path) -> None:  # noqa: ANN001
    first = write_run().parent
    other = Path(shutil.copytree(first / "data", tmp_path / "other" / "data")).parent
    (first / "params.yaml").write_text("query: {method: auto, budget: 7}\nruntime: {workers: 2}\n", encoding="utf-8")
    (other / "params.yaml").write_text("query: {method: <b>, budget: 7}\nruntime: {workers: 9}\n", encoding="utf-8")
    told = write_comparison(str(first), str(other / "data"), tmp_path / "page.html")
    assert "query.method" in told
    assert "query.budget" not in told
    assert "workers" not in told
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;" in page
    assert "<svg" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
