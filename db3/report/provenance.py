"""Where a run comes from: digests, versions and parameters, as rows of names and values."""

from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from db3.report.formatting import network, number
from db3.report.read import Run

Rows = list[tuple[str, str]]

# `runtime` decides no result, so it is no part of where one comes from.
_LEFT_OUT = ("runtime",)
_KINDS = {
    "train": "trained here",
    "checkpoint": "from a checkpoint",
    "exported": "a compiled program",
    "onnx": "an ONNX file",
    "http": "an inference server",
    "http_image": "an endpoint for pictures",
    "callable": "a Python function",
}
_LABELS = {"hard": "bare decisions"}


def digests(run: Run) -> Rows:
    """The names by which every artefact of the run is known, in the order they were made."""
    dataset = run.teacher.get("dataset") or {}
    rows = [
        ("Dataset", dataset.get("digest")),
        ("Teacher", run.teacher["identity"]),
        ("Samples", run.samples["digest"]),
        ("Boundary distances", run.search["digest"]),
        ("Transfer set", run.transfer["digest"]),
    ]
    return [(name, str(value)) for name, value in rows if value]


def facts(run: Run) -> Rows:
    """What was done, in words and numbers."""
    dataset, queries, kind = (
        run.teacher.get("dataset") or {},
        run.metrics["queries"],
        str(run.teacher.get("kind") or ""),
    )
    split = [
        f"{number(dataset[part])} {word} images"
        for part, word in (("train", "training"), ("test", "test"))
        if dataset.get(part) is not None
    ]
    chosen = [
        f"{name} {run.transfer[name]:g}" for name in ("beta", "temperature") if run.transfer.get(name) is not None
    ]
    rows = [
        ("Dataset", ", ".join([str(dataset.get("name", "not named")), *split])),
        ("Teacher", ", ".join(filter(None, [network(run.teacher.get("architecture")), _KINDS.get(kind, kind)]))),
        ("Student", network(run.student["architecture"])),
        ("Samples", f"{number(len(run.decisions))}, {run.samples['method']}"),
        ("Search", _search(run.search)),
        (
            "Soft labels",
            ", ".join(
                [_LABELS.get(str(run.transfer["mapping"]), str(run.transfer["mapping"])), *chosen, *_beside(run)]
            ),
        ),
        ("Queries", f"{number(queries['asked'])} asked for samples and boundaries together{_ended(run)}"),
        ("Seeds", _seeds(run)),
    ]
    extra = (run.search.get("queries") or {}).get("augmented")
    if extra:
        rows.insert(-1, ("Baseline queries", f"{number(extra)} more, for the augmented baseline"))
    return rows


def _ended(run: Run) -> str:
    """Where the budget ended the search, what that left open."""
    if not run.search.get("spent"):
        return ""
    return f"; the budget was spent before {number(run.search.get('unfinished', 0))} pairs were finished"


def _beside(run: Run) -> list[str]:
    """What the transfer set holds besides the samples."""
    held = run.transfer.get("samples_of") or {}
    words = {"boundary_points": "boundary points as boundary points", "queried_images": "images asked, as decided"}
    return [f"{number(held[name])} {text}" for name, text in words.items() if held.get(name)]


def _seeds(run: Run) -> str:
    used = sorted({score.seed for score in run.scores})
    return f"{', '.join(map(str, used))} ({'one student' if len(used) == 1 else f'{len(used)} students'} a variant)"


def environment(run: Run) -> Rows:
    """Versions and kind of machine, from whichever manifests tell them; equal rows once."""
    rows: dict[tuple[str, str], None] = {}
    for manifest in (run.teacher, run.samples, run.search, run.transfer, run.student):
        rows |= dict.fromkeys(flatten(manifest.get("environment") or {}))
    return list(rows)


def parameters(params: Mapping[str, Any]) -> list[tuple[str, Rows]]:
    """Rows of each parameter group. Of a path only its last part is told: folders name people and machines."""
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


def _search(search: Mapping[str, Any]) -> str:
    if search["method"] == "none":
        return "none"
    return f"{search['method']}, at most {number(search['budget'])} queries a pair"
