"""Gather a run's numbers and figures, and fill the page's template with them."""

from collections.abc import Mapping
from typing import Any

from db3.report import formatting as words
from db3.report import provenance
from db3.report.boundaries import asked_histogram, class_distances, descent
from db3.report.charts import asked_chart, both, coverage_chart, descent_chart, loss_panel, queries_chart
from db3.report.examples import ambiguous, typical
from db3.report.made_samples import story
from db3.report.matrices import confusion_matrix, distance_matrix
from db3.report.pages import page
from db3.report.pseudo import snapshot_grid
from db3.report.recommended import boundary_warning, choice_line, queries_warning
from db3.report.results_table import query_marks, results_table, titles
from db3.report.run import Run
from db3.report.summary import summary_line
from db3.report.training import mean_losses
from db3.report.trust import bill_line
from db3.zero_shot.foretold import made_warning


def build_report(run: Run, params: Mapping[str, Any] | None = None) -> str:
    """The report of a run: one HTML page that needs no network and no other file, a function of its arguments alone.

    Args:
        run: everything that it tells.
        params: params.yaml as nested mappings, shown under provenance; the group `runtime` and the folders of paths
            are not, since they decide nothing.
    """
    return page("template.html.j2").render(
        w=words, **_results(run), **_trust(run), **_made(run), **_search(run), **_origin(run, params or {})
    )


def _results(run: Run) -> dict[str, Any]:
    named, measure, marks = titles(run), run.metrics.measure, query_marks(run)
    losses = {
        variant: points for variant, points in mean_losses(run.losses).items() if not variant.startswith("student@")
    }
    unit = "queries" if run.is_made else "queries per sample"
    drawn = [mark for mark in marks if mark.kind != "level"]
    return {
        "run": run,
        "metrics": run.metrics,
        "measure": measure,
        "decimals": words.decimals_for(run.metrics.test_images),
        "summary_line": summary_line(run.metrics, named),
        "results_table": results_table(run),
        "choice_line": choice_line(run.choice, named),
        "warnings": [
            *made_warning(run.samples.foretold, run.samples.method, more="a higher samples.budget"),
            *boundary_warning(run.boundary),
            *queries_warning(run.choice, run.metrics, named),
        ],
        "marks": marks,
        "unit": unit,
        "queries_chart": both(lambda width: queries_chart(marks, measure, width, unit)) if drawn else None,
        "confusion": confusion_matrix(run.confusion, run.names),
        "losses": [
            (
                words.capital(named.get(variant, variant)),
                points,
                loss_panel(points, named.get(variant, variant), variant == "student"),
            )
            for variant, points in losses.items()
        ],
    }


def _trust(run: Run) -> dict[str, Any]:
    curve, decimals = run.coverage, words.decimals_for(run.metrics.test_images)
    return {
        "coverage_chart": both(lambda width: coverage_chart(curve, width)) if curve else None,
        "bill_line": bill_line(curve, decimals) if curve else None,
    }


def _search(run: Run) -> dict[str, Any]:
    distances, points, asked = class_distances(run), descent(run), asked_histogram(run)
    return {
        "distances": distances,
        "distance_matrix": distance_matrix(distances, run.names),
        "descent": points,
        "descent_chart": both(lambda width: descent_chart(points, width)) if points else None,
        "asked": asked,
        "asked_chart": both(lambda width: asked_chart(asked, width)) if asked else None,
        "searched": run.search.method != "none",
        "typical": typical(run),
        "ambiguous": ambiguous(run),
    }


def _made(run: Run) -> dict[str, Any]:
    states = "iterations" if run.samples.method == "zsdb3" else "round"
    grid = snapshot_grid(run.snapshots, run.names, states) if run.snapshots else None
    return {"story": story(run.samples), "snapshots": grid}


def _origin(run: Run, params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "digests": provenance.digests(run),
        "facts": provenance.facts(run),
        "parameters": provenance.parameters(params),
    }
