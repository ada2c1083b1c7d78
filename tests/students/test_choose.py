"""The student recommended: the searches' own, unless another variant is clearly ahead on samples held out."""

import numpy as np
import pytest

from db3.students.choose import Candidate, Choice, candidates, choose_variant, recommend, why_no_choice
from db3.students.train import StudentSettings
from db3.students.variants import Variant
from db3.training.examples import Examples
from db3.training.train import TrainSettings

SETTINGS = StudentSettings("lenet5_fifth", TrainSettings(steps=60, batch=32, warmup=5, arithmetic="float32"), (0, 1))


def _samples(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Images of which one half is bright: the class says which."""
    decisions = np.arange(count) % 2
    images = np.random.default_rng(0).integers(0, 40, (count, 1, 16, 16), dtype=np.uint8)
    images[decisions == 1, :, :8] += 200
    images[decisions == 0, :, 8:] += 200
    return images, decisions


def _variant(name: str, decisions: np.ndarray, black_box: bool = True) -> Variant:
    return Variant(name, name, Examples(_samples()[0], decisions), 1.0, 0.0, 1.0, 1.0, black_box)


def test_a_baseline_that_learns_what_the_student_does_not_is_chosen() -> None:
    images, decisions = _samples()
    wrong = np.zeros_like(decisions)
    variants = [_variant("student", wrong), _variant("hard", decisions), _variant("kd", decisions, black_box=False)]
    choice = choose_variant(variants, images, decisions, 2, SETTINGS, folds=3)
    assert choice.name == "hard"
    assert choice.samples == 60
    assert [each.name for each in choice.candidates] == ["student", "hard"]
    student, hard = choice.candidates
    assert (student.agreed, hard.agreed) == (30, 60)
    assert (hard.better, hard.worse) == (30, 0)


def test_of_equals_the_student_stays() -> None:
    images, decisions = _samples()
    variants = [_variant("student", decisions), _variant("hard", decisions)]
    assert choose_variant(variants, images, decisions, 2, SETTINGS, folds=2).name == "student"


@pytest.mark.parametrize(("better", "worse", "ahead"), [(1, 0, False), (2, 0, True), (9, 4, True), (8, 5, False)])
def test_ahead_is_more_than_one_standard_error(better: int, worse: int, ahead: bool) -> None:
    assert (Candidate("hard", 50, better, worse).lead > 1) == ahead


def test_controls_points_of_the_curve_and_closed_variants_are_no_candidates() -> None:
    decisions = _samples()[1]
    names = ("student", "noise", "hard", "student@4")
    variants = [_variant(name, decisions) for name in names] + [_variant("kd", decisions, black_box=False)]
    assert [each.name for each in candidates(variants)] == ["student", "hard"]


@pytest.mark.parametrize(
    ("names", "samples", "folds", "how", "told"),
    [
        (("student", "hard"), 24, 3, {}, None),
        (("student", "hard"), 60, 0, {}, "distill.folds is 0"),
        (("student", "noise", "student@4"), 60, 3, {}, "no other variant"),
        (("student", "hard"), 60, 3, {"descended": True}, "descend from each other"),
        (("student", "hard"), 60, 3, {"assisted": True}, "learnt from every sample"),
        (("student", "hard"), 23, 3, {}, "23 samples are too few to hold out: 3 folds (distill.folds) take 24 or more"),
    ],
)
def test_where_there_is_no_choice_the_reason_is_told(
    names: tuple[str, ...], samples: int, folds: int, how: dict[str, bool], told: str | None
) -> None:
    reason = why_no_choice([_variant(name, _samples()[1]) for name in names], samples, folds, **how)
    assert reason is None if told is None else told in str(reason)


def test_the_one_chosen_takes_the_students_place_and_the_searches_student_stays_beside_it() -> None:
    decisions = _samples()[1]
    variants = [_variant(name, decisions) for name in ("student", "hard", "augmented", "student@4")]
    found = recommend(variants, Choice("augmented", 60))
    assert [each.name for each in found] == ["student", "searched", "hard", "augmented"]
    assert found[0].title == "recommended: augmented"
    assert recommend(variants, Choice("student", 60)) == variants
