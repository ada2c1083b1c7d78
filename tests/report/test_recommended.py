"""The sentence on the student recommended, and the warning of boundaries that tell nothing."""

from dataclasses import replace

import numpy as np
import pytest

from db3.evaluation import RunFacts, Size, VariantDecisions, build_metrics
from db3.evaluation.results import BaselineMetrics, QueryMetrics
from db3.report.recommended import boundary_warning, choice_line, queries_warning
from db3.report.run import ChoiceFacts

_NONE = RunFacts(Size(), Size(), "5", queries_asked=0, queries_per_sample=1, transfer_digest="7")
METRICS = build_metrics(None, [VariantDecisions("student", 1, True, {0: np.zeros(4, np.int64)})], None, _NONE)


def test_a_choice_that_is_not_told_says_nothing() -> None:
    assert choice_line(None, {}) is None
    assert choice_line(ChoiceFacts("student", 0, {}), {}) is None


def test_the_report_says_why_nothing_was_there_to_choose_from() -> None:
    line = choice_line(ChoiceFacts("student", 0, {}, "distill.folds is 0"), {})
    assert line == "The student was not chosen among the variants: distill.folds is 0."


def test_the_searches_student_is_held_beside_the_best_baseline() -> None:
    titles = {"student": "decisions and images asked", "hard": "decisions only"}
    line = choice_line(ChoiceFacts("student", 100, {"student": 80, "hard": 78}), titles)
    assert line is not None
    assert line.startswith("The student of “decisions and images asked” is recommended")
    assert "80.0" in line
    assert "“decisions only”, 78.0" in line


def test_another_variant_is_named_with_both_shares() -> None:
    agreed = {"student": 80, "hard": 78, "smoothing": 90}
    titles = {"smoothing": "uniform label smoothing", "student": "recommended: …", "searched": "boundary distances"}
    line = choice_line(ChoiceFacts("smoothing", 100, agreed), titles)
    assert line is not None
    assert line.startswith("The student recommended learns what “uniform label smoothing” does")
    assert "90.0" in line
    assert "(“boundary distances”) on 80.0" in line


@pytest.mark.parametrize(("boundary", "warned"), [(None, False), (0.3, False), (0.004, True)])
def test_boundaries_at_dust_are_warned_of(boundary: float | None, warned: bool) -> None:
    assert bool(boundary_warning(boundary)) == warned


def test_where_one_query_a_sample_does_as_well_that_is_said() -> None:
    def told(lead: float, per_sample: float = 58.0, name: str = "student") -> list[str]:
        cheap = BaselineMetrics(None, None, 1.0, black_box=True)
        queries = QueryMetrics(5800, per_sample, spent=False, evaluation=50)
        metrics = replace(
            METRICS, queries=queries, baselines={"smoothing": cheap, "kd": replace(cheap, black_box=False)}
        )
        agreed = {"student": 290, "smoothing": 289, "kd": 300}
        choice = ChoiceFacts(name, 300, agreed, None, {"student": 0.0, "smoothing": lead, "kd": 5.0})
        return queries_warning(choice, metrics, {"smoothing": "uniform label smoothing"})

    (line,) = told(-0.3)
    assert line.startswith("“Uniform label smoothing”, at one query a sample,")
    assert "96.3" in line
    assert "the other 57 queries a sample" in line
    assert told(-1.5) == told(-0.3, per_sample=1.0) == told(-0.3, name="smoothing") == []
    assert queries_warning(None, METRICS, {}) == queries_warning(ChoiceFacts("student", 0, {}), METRICS, {}) == []
