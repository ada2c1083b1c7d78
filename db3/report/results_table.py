"""The result table: the teacher, then every student by accuracy, then what a black box denies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db3.errors import DataError
from db3.evaluation.measures import measure_of, summary
from db3.report.charts import Mark
from db3.report.formatting import capital, decimals_for, network, percent, queries, spread
from db3.report.read import Run

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Strip:
    """Where a row's mark stands on the common axis, in percent of its width; `below`: left of the axis's begin."""

    at: float
    left: float
    width: float
    below: bool


@dataclass(frozen=True)
class Result:
    """One row.

    Attributes:
        name: the variant's name, or `teacher`.
        title: what it was trained on, in words.
        kind: `teacher`, `student`, `variant`, or `closed` (not available from a black box).
        score: the measure that students are ranked by, as text.
        agreement: agreement with the teacher, as text.
        queries: queries asked per sample, as text.
        strip: its mark on the common axis.
    """

    name: str
    title: str
    kind: str
    score: str
    agreement: str
    queries: str
    strip: Strip


@dataclass(frozen=True)
class ResultsTable:
    """The rows, the measure that sorts them, its axis's ends in percent and the teacher's place on it."""

    rows: list[Result]
    measure: str
    low: str
    high: str
    teacher_at: float | None


def titles(run: Run) -> dict[str, str]:
    """Title of each variant, its name where variants.json gives none."""
    return {str(variant["name"]): str(variant.get("title") or variant["name"]) for variant in run.variants}


def results_table(run: Run) -> ResultsTable:
    """Numbers of metrics.json, row by row; students are ranked by the mean of the measure."""
    metrics, measure, named = run.metrics, measure_of(run.metrics), titles(run)
    decimals, seeds = decimals_for(int(metrics["test_images"])), int(metrics.get("seeds", 2))
    entries = [("student", "student", metrics["student"], metrics["queries"]["per_sample"])]
    for name, values in (metrics.get("baselines") or {}).items():
        entries.append((name, "variant" if values["black_box"] else "closed", values, values.get("queries_per_sample")))
    entries.sort(key=lambda entry: (entry[1] == "closed", -entry[2][measure]["mean"], entry[0]))
    teacher = metrics["teacher"].get("accuracy") if measure == "accuracy" else None
    low, high = _axis([entry[2][measure] for entry in entries], teacher)
    rows = [] if teacher is None else [_teacher(run, _strip({"mean": teacher, "sd": 0.0}, low, high))]
    for name, kind, values, asked in entries:
        rows.append(
            Result(
                name=name,
                title=capital(named.get(name, name)),
                kind=kind,
                score=spread(values[measure], decimals, seeds),
                agreement=spread(values["agreement"], decimals, seeds),
                queries=queries(asked),
                strip=_strip(values[measure], low, high),
            )
        )
    place = None if teacher is None else _place(teacher, low, high)
    return ResultsTable(rows, measure, percent(low, 0), percent(high, 0), place)


def _teacher(run: Run, strip: Strip) -> Result:
    accuracy = percent(run.metrics["teacher"].get("accuracy"), decimals_for(int(run.metrics["test_images"])))
    return Result(
        "teacher",
        f"The teacher itself, {network(run.teacher.get('architecture'))}",
        "teacher",
        accuracy,
        "–",
        "–",
        strip,
    )


def _axis(scores: Sequence[Mapping[str, float]], teacher: float | None) -> tuple[float, float]:
    """Ends of the common axis in whole percent, without lone values so far below that the rest would be squeezed."""
    lows = sorted(score["mean"] - score["sd"] for score in scores)
    high = max([score["mean"] + score["sd"] for score in scores] + ([teacher] if teacher is not None else []))
    while len(lows) > 2 and lows[1] - lows[0] > max(1.5 * (high - lows[1]), 0.03):
        lows = lows[1:]
    low, high = int(100 * lows[0]) / 100 - 0.01, min(1.0, int(100 * high + 1) / 100)
    return max(0.0, low), max(high, low + 0.01)


def _place(value: float, low: float, high: float) -> float:
    return round(100 * min(1.0, max(0.0, (value - low) / (high - low))), 2)


def _strip(score: Mapping[str, float], low: float, high: float) -> Strip:
    left, right = (_place(score["mean"] + sign * score["sd"], low, high) for sign in (-1, 1))
    return Strip(_place(score["mean"], low, high), left, round(right - left, 2), score["mean"] < low)


def query_marks(run: Run) -> list[Mark]:
    """Points and levels of the chart against queries, in percent, from accuracy.csv and variants.json.

    Queries are per sample; all of them where samples were made, and nothing else was asked.
    """
    measure, samples = measure_of(run.metrics), len(run.decisions) if run.is_made else 1
    values: dict[str, list[float]] = {}
    for score in run.scores:
        value = getattr(score, measure)
        if value is not None:
            values.setdefault(score.variant, []).append(100 * value)
    marks = []
    for variant in run.variants:
        name = str(variant["name"])
        if name not in values:
            continue
        if not isinstance(variant.get("queries_per_sample"), int | float):
            raise DataError(f"student/variants.json gives no queries_per_sample for {name}; run distill again")
        told, closed = summary(values[name]), not variant.get("black_box", True)
        kind = (
            "level"
            if closed
            else {"student": "student"}.get(name, "step" if name.startswith("student@") else "variant")
        )
        marks.append(Mark(name, samples * float(variant["queries_per_sample"]), told["mean"], told["sd"], kind))
    teacher = run.metrics["teacher"].get("accuracy")
    if measure == "accuracy" and teacher is not None:
        marks.append(Mark("teacher", 0.0, 100 * teacher, 0.0, "level"))
    return marks
