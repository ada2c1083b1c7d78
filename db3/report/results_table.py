"""The result table: the teacher, then every student by accuracy, then what a black box denies."""

from collections.abc import Sequence
from dataclasses import dataclass

from db3.evaluation.measures import summary
from db3.evaluation.results import BaselineMetrics, Spread, StudentMetrics
from db3.report.charts import Mark
from db3.report.formatting import capital, decimals_for, network, percent, queries, spread
from db3.report.run import Run, VariantFacts


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
    """Title of each variant."""
    return {variant.name: variant.title for variant in run.variants}


def results_table(run: Run) -> ResultsTable:
    """Numbers of metrics.json, row by row; students are ranked by the mean of the measure."""
    metrics, named = run.metrics, titles(run)
    measure, decimals, seeds = metrics.measure, decimals_for(metrics.test_images), metrics.seeds
    entries: list[tuple[str, str, StudentMetrics | BaselineMetrics, float]] = [
        ("student", "student", metrics.student, metrics.queries.per_sample)
    ]
    for name, baseline in metrics.baselines.items():
        entries.append((name, "variant" if baseline.black_box else "closed", baseline, baseline.queries_per_sample))
    scores: dict[str, Spread] = {name: getattr(values, measure) for name, _, values, _ in entries}
    entries.sort(key=lambda entry: (entry[1] == "closed", -scores[entry[0]].mean, entry[0]))
    teacher = metrics.teacher.accuracy if measure == "accuracy" else None
    low, high = axis(list(scores.values()), teacher)
    rows = [] if teacher is None else [_teacher(run, strip(Spread(teacher, 0.0), low, high))]
    for name, kind, values, asked in entries:
        rows.append(
            Result(
                name=name,
                title=capital(named.get(name, name)),
                kind=kind,
                score=spread(scores[name], decimals, seeds),
                agreement=spread(values.agreement, decimals, seeds),
                queries=queries(asked),
                strip=strip(scores[name], low, high),
            )
        )
    place = None if teacher is None else _place(teacher, low, high)
    return ResultsTable(rows, measure, percent(low, 0), percent(high, 0), place)


def _teacher(run: Run, strip: Strip) -> Result:
    accuracy = percent(run.metrics.teacher.accuracy, decimals_for(run.metrics.test_images))
    title = f"The teacher itself, {network(run.teacher.architecture)}"
    return Result("teacher", title, "teacher", accuracy, "–", "–", strip)


def axis(scores: Sequence[Spread], teacher: float | None) -> tuple[float, float]:
    """Ends of the common axis in whole percent, without lone values so far below that the rest would be squeezed."""
    lows = sorted(score.mean - score.sd for score in scores)
    high = max([score.mean + score.sd for score in scores] + ([teacher] if teacher is not None else []))
    while len(lows) > 2 and lows[1] - lows[0] > max(1.5 * (high - lows[1]), 0.03):
        lows = lows[1:]
    low, high = int(100 * lows[0]) / 100 - 0.01, min(1.0, int(100 * high + 1) / 100)
    return max(0.0, low), max(high, low + 0.01)


def _place(value: float, low: float, high: float) -> float:
    return round(100 * min(1.0, max(0.0, (value - low) / (high - low))), 2)


def strip(score: Spread, low: float, high: float) -> Strip:
    left, right = (_place(score.mean + sign * score.sd, low, high) for sign in (-1, 1))
    return Strip(_place(score.mean, low, high), left, round(right - left, 2), score.mean < low)


def query_marks(run: Run) -> list[Mark]:
    """Points and levels of the chart against queries, in percent, from accuracy.csv and variants.json.

    Queries are per sample; all of them where samples were made, and nothing else was asked.
    """
    measure, samples = run.metrics.measure, len(run.decisions) if run.is_made else 1
    values: dict[str, list[float]] = {}
    for score in run.scores:
        value = getattr(score, measure)
        if value is not None:
            values.setdefault(score.variant, []).append(100 * value)
    marks = []
    for variant in run.variants:
        if variant.name in values:
            spread, cost = summary(values[variant.name]), samples * variant.queries_per_sample
            marks.append(Mark(variant.name, cost, spread["mean"], spread["sd"], _kind(variant)))
    teacher = run.metrics.teacher.accuracy
    if measure == "accuracy" and teacher is not None:
        marks.append(Mark("teacher", 0.0, 100 * teacher, 0.0, "level"))
    return marks


def _kind(variant: VariantFacts) -> str:
    if not variant.black_box:
        return "level"
    return "step" if variant.name.startswith("student@") else {"student": "student"}.get(variant.name, "variant")
