"""What a run shows in Prefect's UI beside its states: stages, queries, metrics, pictures, and what to do when it fails.

Everything is read from the files under data/, so a stage that came from DVC's cache shows the same as one that ran.
"""

import base64
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from db3.files import read_array, read_json
from flows.engine.stage import DATA

_LAST_LINES = 30
_PICTURES = (6, 12)  # rows and columns of sample pictures


def show_stage(name: str, data: Path = DATA) -> None:
    """Show what a finished stage left under `data`."""
    if name in _SHOWN and (data / _SHOWN[name][0]).is_file():
        _SHOWN[name][1](data)


def progress(
    names: Sequence[str], states: Mapping[str, Any], seconds: Mapping[str, float]
) -> tuple[list[dict[str, Any]], str]:
    """How far the pipeline is, as a table and a line: DVC's word for each stage so far, and how long it took."""
    rows = [
        {
            "stage": name,
            "state": states[name].name if name in states else "to come",
            "seconds": round(seconds[name], 1) if name in seconds else "",
            "said": (states[name].message or "") if name in states else "",
        }
        for name in names
    ]
    done = sum(state.is_completed() for state in states.values())
    return rows, f"{done} of {len(names)} stages are up to date"


def show_failure(name: str, reason: str, lines: Sequence[str]) -> None:
    """A page about a stage that failed: the reason, the way out, the end of its output."""
    output = "\n".join(lines[-_LAST_LINES:])
    create_markdown_artifact(
        f"## {name} failed\n\n**{reason}**\n\n"
        "Fix that, then start the run again: stages that are up to date are skipped, finished shards are kept. "
        "By hand, in the project's folder:\n\n"
        f"```\ndvc repro {name}                       # the same, without Prefect\n"
        f"DB3_TRACEBACK=1 python -m flows.{name}   # with the traceback\n```\n\n"
        f"The end of its output:\n\n```\n{output}\n```\n",
        "what-to-do",
        f"{name}: {reason}",
    )


def _samples(data: Path) -> None:
    """The first samples as one picture, inside the artifact itself: nothing has to be served."""
    rows, columns = _PICTURES
    images = np.array(read_array(data / "samples" / "images.npy")[: rows * columns])
    count, channels, height, width = images.shape
    if images.dtype != np.uint8 or channels not in (1, 3):
        return
    sheet = np.zeros((rows * columns, channels, height, width), np.uint8)
    sheet[:count] = images
    tiled = sheet.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    picture = Image.fromarray(tiled.reshape(rows * height, columns * width, channels).squeeze())
    scale = max(1, 480 // picture.width)
    buffer = io.BytesIO()
    picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(buffer, "PNG")
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    decided = read_json(data / "samples" / "manifest.json")["decided"]
    shown = ", ".join(f"{name}: {number:,}" for name, number in list(decided.items())[:20])
    create_image_artifact(url, "samples", f"The first samples; the teacher decided {shown}")


def _queries(data: Path) -> None:
    manifest = read_json(data / "decisions" / "manifest.json")
    samples, classes = read_array(data / "decisions" / "asked.npy").shape
    pairs = samples * (classes - 1)
    budget, queries = manifest["budget"] * pairs, manifest["queries"]
    synthetic_queries = queries.get("synthetic_queries", 0)
    searched = queries["asked"] - synthetic_queries
    rows = [
        {"queries": "asked by the search of every pair", "count": searched, "of the budget": budget},
        {"queries": "asked by synthetic queries, before it", "count": synthetic_queries, "of the budget": ""},
        {"queries": "votes kept of both", "count": queries["votes"], "of the budget": ""},
        {"queries": "asked for the augmented baseline", "count": queries["augmented"], "of the budget": ""},
    ]
    said = f"{manifest['method']}: {searched:,} of {budget:,} queries, {manifest['unreached']:,} pairs unreached"
    create_table_artifact(rows, "queries", said)


def _metrics(data: Path) -> None:
    metrics = read_json(data / "evaluation" / "metrics.json")

    def row(name: str, scores: Mapping[str, Any], queries: Any) -> dict[str, Any]:
        shown = {kind: scores.get(kind) for kind in ("accuracy", "agreement")}
        return {
            "variant": name,
            **{kind: f"{100 * s['mean']:.2f} ± {100 * s['sd']:.2f} %" if s else "" for kind, s in shown.items()},
            "queries per sample": queries,
        }

    rows = [row("student", metrics["student"], metrics["queries"]["per_sample"])]
    rows += [row(name, scores, scores["queries_per_sample"]) for name, scores in metrics["baselines"].items()]
    teacher = metrics["teacher"]["accuracy"]
    said = f"Test split, {metrics['test_images']:,} images, {metrics['seeds']} seeds"
    create_table_artifact(rows, "metrics", said + (f"; the teacher: {100 * teacher:.2f} %" if teacher else ""))


def _report(data: Path) -> None:
    url = os.environ.get("DB3_REPORT_URL") or (data / "report" / "index.html").resolve().as_uri()
    create_link_artifact(url, "the report", "report", "One page with everything that this run found")


_SHOWN: dict[str, tuple[str, Callable[[Path], None]]] = {
    "samples": ("samples/manifest.json", _samples),
    "query_decisions": ("decisions/manifest.json", _queries),
    "evaluate": ("evaluation/metrics.json", _metrics),
    "report": ("report/index.html", _report),
}
