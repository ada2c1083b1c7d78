"""When the student may be trusted: one sentence and one picture, true to the curve, and nothing where nobody knows."""

import re
from dataclasses import replace

import numpy as np
import pytest

from db3.gate.curve import CoveragePoint, coverage_curve
from db3.report import build_report
from db3.report.charts import NARROW, WIDE, coverage_chart
from db3.report.trust import bill_line
from flows.report import read_run
from tests.report.test_charts import inside

CURVE = [
    CoveragePoint(0.99, 0.5, 1.0, 0.93, 1.0),
    CoveragePoint(0.9, 0.88, 0.992, 0.96, 0.999),
    CoveragePoint(0.4, 1.0, 0.95, 0.9, 0.98),
]


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_the_bill_at_99_percent_is_told() -> None:
    assert plain(bill_line(CURVE, 1)) == (
        "For 99 % agreement on these images the teacher is asked about 12.0 % of them, 120 in 1,000; the student "
        "answers the others itself and agrees on 99.2 %."
    )
    assert "nothing is asked" in bill_line([*CURVE[:2], replace(CURVE[2], agreement=0.995)], 1)
    assert "all is asked" in bill_line(CURVE[2:], 1)


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("curve", [CURVE, CURVE[2:], [replace(CURVE[2], agreement=0.0, low=0.0)], CURVE[:1]])
def test_the_curve_is_drawn_inside(curve: list[CoveragePoint], width: int) -> None:
    drawing = coverage_chart(curve, width)
    inside(drawing, width)
    places = [
        float(y) for line in re.findall(r' d="M([^"]+)"', drawing) for y in re.findall(r"\S+ (\S+?)(?:L|$)", line)
    ]
    assert places
    assert all(0 <= y <= 300 for y in places)
    assert f"{100 * curve[-1].agreement:.2f} of {100 * curve[-1].coverage:.1f}" in drawing


def test_the_page_tells_it_and_says_that_it_promises_nothing(write_run) -> None:  # noqa: ANN001
    run = read_run(write_run())
    page = build_report(run, {})
    assert bill_line(run.coverage, 1) in page
    assert "promises nothing for others" in page
    counts = run.confusion
    assert run.coverage[-1].agreement == pytest.approx(np.trace(counts) / counts.sum(), abs=1e-6)


def test_nothing_is_drawn_where_the_teacher_was_not_asked(write_run) -> None:  # noqa: ANN001
    data = write_run()
    (data / "evaluation/coverage.csv").write_text("threshold,coverage,agreement,low,high\n")
    assert "so nobody knows" in build_report(read_run(data), {})


def test_many_equal_scores_are_one_point() -> None:
    curve = coverage_curve(np.ones(20), np.ones(20, bool))
    inside(coverage_chart(curve, WIDE), WIDE)
    assert "nothing is asked" in bill_line(curve, 1)
