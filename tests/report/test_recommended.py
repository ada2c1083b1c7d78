"""The sentence on the student recommended, and the warning of boundaries that tell nothing."""

import pytest

from db3.report.recommended import boundary_warning, choice_line
from db3.report.run import ChoiceFacts


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
    assert (boundary_warning(boundary) is not None) == warned
