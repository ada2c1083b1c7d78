"""The result table's order and axis, and the points of the chart."""

from dataclasses import replace

import pytest

from db3.evaluation.results import Spread
from db3.report.results_table import query_marks, results_table
from flows.report import read_run


def test_rows_fall_in_accuracy_and_the_closed_one_is_last(write_run) -> None:  # noqa: ANN001
    told = results_table(read_run(write_run(tests=3000)))
    kinds = [row.kind for row in told.rows]
    assert kinds[0] == "teacher"
    assert kinds[-1] == "closed"
    ranked = [float(row.score.split()[0]) for row in told.rows[1:-1]]
    assert ranked == sorted(ranked, reverse=True)
    assert all(0 <= row.strip.left <= row.strip.at <= row.strip.left + row.strip.width <= 100.01 for row in told.rows)


def test_a_lone_failure_does_not_squeeze_the_axis(write_run) -> None:  # noqa: ANN001
    run = read_run(write_run())
    noise = replace(run.metrics.baselines["noise"], accuracy=Spread(0.2, 0.01))
    run.metrics.baselines["noise"] = noise
    told = results_table(run)
    assert int(told.low) > 80
    assert [row.name for row in told.rows if row.strip.below] == ["noise"]


def test_points_equal_the_metrics(write_run) -> None:  # noqa: ANN001
    run = read_run(write_run())
    marks = {mark.name: mark for mark in query_marks(run)}
    assert marks["student"].mean == pytest.approx(100 * run.metrics.student.accuracy.mean, abs=1e-3)
    assert marks["hard"].sd == pytest.approx(100 * run.metrics.baselines["hard"].accuracy.sd, abs=1e-3)
    assert [marks[name].kind for name in ("student", "student@10", "hard", "kd", "teacher")] == [
        "student", "step", "variant", "level", "level",
    ]  # fmt: skip
    curve = sorted((mark.queries, mark.mean) for mark in marks.values() if mark.kind in ("student", "step"))
    told = [(point.queries_per_sample, 100 * point.accuracy.mean) for point in run.metrics.curve]
    assert curve == [pytest.approx(pair, abs=1e-3) for pair in told]
