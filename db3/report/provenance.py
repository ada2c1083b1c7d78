"""Where a run comes from: digests, versions and parameters, as rows of names and values."""

from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from db3.report.formatting import network, number
from db3.report.run import Run

Rows = list[tuple[str, str]]

# `runtime` decides no result, so it is no part of where one comes from.
_LEFT_OUT = ("runtime",)
KINDS = {
    "train": "trained here",
    "checkpoint": "from a checkpoint",
    "exported": "a compiled program",
    "onnx": "an ONNX file",
    "http": "an inference server",
    "http_image": "an endpoint for pictures",
    "callable": "a Python function",
    "process": "a program that is asked line by line",
}


def digests(run: Run) -> Rows:
    """The names by which every artefact of the run is known, in the order they were made."""
    return [
        ("Dataset", run.dataset.digest),
        ("Teacher", run.teacher.identity),
        ("Samples", run.samples.digest),
        ("Boundary distances", run.search.digest),
        ("Transfer set", run.transfer.digest),
        ("Student", run.metrics.student.digest),
    ]


def facts(run: Run) -> Rows:
    """What was done, in words and numbers."""
    dataset, teacher = run.dataset, run.teacher
    split = f"{number(dataset.train)} training images, {number(dataset.test)} test images"
    asked = f"{number(run.metrics.queries.asked)} asked for samples and boundaries together{_ended(run)}"
    extra = f"{number(run.search.augmented)} more, for the augmented baseline"
    return [
        ("Dataset", f"{dataset.name}, {split}"),
        ("Teacher", f"{network(teacher.architecture)}, {KINDS[teacher.kind]}"),
        ("Student", network(run.student)),
        ("Samples", f"{number(len(run.decisions))}, {run.samples.method}"),
        ("Search", _search(run)),
        ("Soft labels", _labels(run)),
        ("Queries", asked),
        *([("Baseline queries", extra)] if run.search.augmented else []),
        ("Seeds", _seeds(run)),
        *([("Arithmetic", _arithmetic(run))] if run.arithmetic else []),
    ]


def _ended(run: Run) -> str:
    """Where the budget ended the search, what that left open."""
    if not run.search.spent:
        return ""
    return f"; the budget was spent before {number(run.search.unfinished)} pairs were finished"


def _labels(run: Run) -> str:
    """The mapping with its scale, and what the transfer set holds besides the samples."""
    held = run.transfer
    scale = "beta" if held.mapping == "margin" else "temperature"
    parts = ["bare decisions" if held.mapping == "hard" else held.mapping]
    parts += [] if held.scale is None else [f"{scale} {held.scale:g}"]
    parts += [f"{number(held.boundary_points)} boundary points"] if held.boundary_points else []
    parts += [f"{number(held.queried_images)} images asked, as decided"] if held.queried_images else []
    return ", ".join(parts)


def _seeds(run: Run) -> str:
    used = sorted({score.seed for score in run.scores})
    return f"{', '.join(map(str, used))} ({'one student' if len(used) == 1 else f'{len(used)} students'} a variant)"


def parameters(params: Mapping[str, Any]) -> list[tuple[str, Rows]]:
    """Rows of each parameter group. Of a path only its last part is shown: folders name people and machines."""
    groups = {name: value for name, value in params.items() if name not in _LEFT_OUT}
    return [
        (name, [(key, _pathless(text)) for key, text in flatten(value)])
        for name, value in groups.items()
        if isinstance(value, Mapping)
    ]


def flatten(value: Mapping[str, Any], prefix: str = "") -> Rows:
    """Nested mappings as `a.b` rows in their own order."""
    rows: Rows = []
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            rows += flatten(item, f"{name}.")
        else:
            rows.append((name, _value(item)))
    return rows


def _value(item: Any) -> str:
    if item is None:
        return "none"
    if isinstance(item, bool):
        return "yes" if item else "no"
    return ", ".join(map(_value, item)) if isinstance(item, list | tuple) else str(item)


def _pathless(text: str) -> str:
    windows = PureWindowsPath(text)
    if PurePosixPath(text).is_absolute() or text.startswith("~") or windows.is_absolute():
        return f"…/{windows.name}"
    return text


def _arithmetic(run: Run) -> str:
    """What is promised of the bytes, and of which networks."""
    here = "the same bytes on this kind of machine only"
    promised = {"float32": here, "bfloat16": here, "exact": "the same bytes on every machine"}
    parts = []
    for kind, promise in promised.items():
        names = [name for name, used in run.arithmetic.items() if used == kind]
        parts += [f"{kind} ({', '.join(names)}): {promise}"] if names else []
    return "; ".join(parts)


def _search(run: Run) -> str:
    if run.search.method == "none":
        return "none"
    return f"{run.search.method}, at most {number(run.search.budget)} queries a pair"
