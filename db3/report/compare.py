"""Two runs side by side: metrics, variants, queries, and the parameters that differ; a page and a text table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from db3.evaluation import Metrics
from db3.evaluation.results import Spread
from db3.report.charts import Mark, both, queries_chart
from db3.report.formatting import decimals_for, number, percent, queries, size, spread
from db3.report.pages import page
from db3.report.provenance import parameters
from db3.report.results_table import Strip, axis, strip
from db3.report.summary import differ


@dataclass(frozen=True)
class Variant:
    """A variant's scores, None where not known, and what it cost: queries per sample."""

    accuracy: Spread | None
    agreement: Spread | None
    queries: float


@dataclass(frozen=True)
class Side:
    """One of the two runs.

    Attributes:
        name: as the user gave it.
        variants: by name; `student` is one of them.
        curve: (queries per sample, accuracy) of the student on its way.
        facts: what else there is of it, by its name, as text.
        parameters: `group.name` to text.
        seeds: students of each variant.
        test_images: it was measured on.
    """

    name: str
    variants: Mapping[str, Variant]
    curve: Sequence[tuple[float, Spread]]
    facts: Mapping[str, str]
    parameters: Mapping[str, str]
    seeds: int
    test_images: int


@dataclass(frozen=True)
class Row:
    """A variant in both runs: scores as text, `–` where a run has none, and the difference in words."""

    name: str
    scores: tuple[str, str]
    asked: tuple[str, str]
    change: str
    strips: tuple[Strip | None, Strip | None]


@dataclass(frozen=True)
class Comparison:
    """What page and text tell.

    Attributes:
        names: of the two runs.
        measure: that both are compared by.
        rows: variants, the student first.
        low: begin of the axis, in percent.
        high: its end.
        facts: (name, one, other), all of them.
        parameters: (name, one, other) that differ.
        noise: whether differences can be held against deviations: several seeds in both.
    """

    names: tuple[str, str]
    measure: str
    rows: Sequence[Row]
    low: str
    high: str
    facts: Sequence[tuple[str, str, str]]
    parameters: Sequence[tuple[str, str, str]]
    noise: bool


def side_of(name: str, metrics: Metrics, params: Mapping[str, Any] | None = None) -> Side:
    """A run of the pipeline.

    Args:
        name: as the user gave it.
        metrics: its metrics.json.
        params: its params.yaml; None: not known.
    """
    student = metrics.student
    variants = {"student": Variant(student.accuracy, student.agreement, metrics.queries.per_sample)}
    variants |= {
        name: Variant(found.accuracy, found.agreement, found.queries_per_sample)
        for name, found in metrics.baselines.items()
    }
    facts = {
        "queries asked": number(metrics.queries.asked),
        "queries per sample": queries(metrics.queries.per_sample),
        "budget spent": "yes" if metrics.queries.spent else "no",
        "teacher's accuracy, %": percent(metrics.teacher.accuracy, decimals_for(metrics.test_images)),
        "teacher's parameters": number(metrics.teacher.parameters),
        "student's parameters": number(student.parameters),
        "student's size": size(student.bytes),
        "test images": number(metrics.test_images),
        "seeds": number(metrics.seeds),
        "transfer set": metrics.transfer.digest[:12],
        "student's digest": student.digest[:12],
    }
    return Side(
        name,
        variants,
        [(point.queries_per_sample, point.accuracy) for point in metrics.curve if point.accuracy],
        facts,
        {f"{group}.{key}": text for group, rows in parameters(params or {}) for key, text in rows},
        metrics.seeds,
        metrics.test_images,
    )


def compare(one: Side, other: Side) -> Comparison:
    """What two runs have in common, and what not."""
    sides = one, other
    measure = "accuracy" if all(side.variants["student"].accuracy for side in sides) else "agreement"
    scores = [score for side in sides for found in side.variants.values() if (score := getattr(found, measure))]
    low, high = axis(scores, None) if scores else (0.0, 1.0)
    noise = min(side.seeds for side in sides) > 1
    names = list(dict.fromkeys([*one.variants, *other.variants]))
    return Comparison(
        (one.name, other.name),
        measure,
        [_row(name, sides, measure, (low, high), noise) for name in names],
        percent(low, 0),
        percent(high, 0),
        _pairs(one.facts, other.facts),
        [row for row in _pairs(one.parameters, other.parameters) if row[1] != row[2]],
        noise,
    )


def _row(name: str, sides: tuple[Side, Side], measure: str, ends: tuple[float, float], noise: bool) -> Row:
    found = [side.variants.get(name) for side in sides]
    scores = [getattr(variant, measure) if variant else None for variant in found]
    decimals = max(decimals_for(side.test_images) for side in sides)
    shown = [spread(score, decimals, side.seeds) for score, side in zip(scores, sides, strict=True)]
    asked = [queries(variant.queries if variant else None) for variant in found]
    strips = [strip(score, *ends) if score else None for score in scores]
    return Row(
        name,
        (shown[0], shown[1]),
        (asked[0], asked[1]),
        _change(scores[0], scores[1], decimals, noise),
        (strips[0], strips[1]),
    )


def _change(one: Spread | None, other: Spread | None, decimals: int, noise: bool) -> str:
    """From one to the other, in points; with several seeds, whether that is more than noise."""
    if one is None or other is None:
        return "–"
    gap = number(100 * (other.mean - one.mean), decimals)
    shown = gap if other.mean <= one.mean else f"+{gap}"
    if not noise or other.mean == one.mean:
        return shown
    return f"{shown}, clear" if differ(one, other) else f"{shown}, within noise"


def _pairs(one: Mapping[str, str], other: Mapping[str, str]) -> list[tuple[str, str, str]]:
    return [(name, one.get(name, "–"), other.get(name, "–")) for name in dict.fromkeys([*one, *other])]


def comparison_text(found: Comparison) -> str:
    """The comparison as a table for a terminal."""
    first, second = found.names
    rows = [(f"{found.measure}, %", first, second, "change")]
    rows += [(row.name, *row.scores, row.change) for row in found.rows]
    rows += [("queries per sample", first, second, "")]
    rows += [(row.name, *row.asked, "") for row in found.rows]
    rows += [("run", first, second, ""), *((*fact, "") for fact in found.facts)]
    rows += [("parameter", first, second, ""), *((*parameter, "") for parameter in found.parameters)]
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    heads = {f"{found.measure}, %", "queries per sample", "run", "parameter"}
    lines = []
    for place, row in enumerate(rows):
        if place and row[0] in heads and row[1:3] == found.names:
            lines.append("")
        cells = [row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].rjust(widths[2]), row[3]]
        lines.append("  ".join(cells).rstrip())
    if not found.parameters:
        lines.append("none differs")
    return "\n".join(lines)


def build_comparison(one: Side, other: Side) -> str:
    """The comparison as one HTML page that needs no network and no other file."""
    return page("compare.html.j2").render(found=compare(one, other), chart=_chart(one, other))


def _chart(one: Side, other: Side) -> Markup | None:
    """Accuracy of both students against queries: the first with its curve, the other's points beside it."""
    marks = _marks(one, "A", "step") + _marks(other, "B", "variant")
    return both(lambda width: queries_chart(marks, "accuracy", width)) if len(marks) > 1 else None


def _marks(side: Side, letter: str, kind: str) -> list[Mark]:
    points = sorted(side.curve, key=lambda point: point[0])
    named = [f"{letter} at {queries(asked)}" for asked, _ in points[:-1]] + [letter]
    kinds = [kind] * (len(points) - 1) + ["student" if kind == "step" else kind]
    return [
        Mark(name, asked, 100 * score.mean, 100 * score.sd, drawn)
        for name, drawn, (asked, score) in zip(named, kinds, points, strict=bool(points))
    ]
