"""The summary says what the numbers say: clear only beyond both deviations, careful otherwise."""

from db3.evaluation.results import (
    BaselineMetrics,
    Metrics,
    QueryMetrics,
    Spread,
    StudentMetrics,
    TeacherMetrics,
    TransferMetrics,
)
from db3.report.formatting import HARD
from db3.report.summary import summary_line

TITLES = {"augmented": "Augmented decisions", "smoothing": "Smoothing"}


def score(mean: float, sd: float = 0.002) -> Spread:
    return Spread(mean, sd)


def metrics(own: Spread, seeds: int = 3, labelled: bool = True, **baselines: Spread) -> Metrics:
    rows = {
        name: BaselineMetrics(value if labelled else None, value, 1.0, name != "kd")
        for name, value in baselines.items()
    }
    return Metrics(
        TeacherMetrics(0.97, 9, 9, 9),
        StudentMetrics(own if labelled else None, own, 1, 1, 1, "57" * 32),
        QueryMetrics(1, 1.0, False, 600),
        TransferMetrics("c3" * 32),
        rows,
        (),
        600,
        seeds,
    )


def say(values: Metrics) -> str:
    return summary_line(values, TITLES).replace(HARD, " ")


def test_a_clear_gain_over_decisions_alone() -> None:
    assert say(metrics(score(0.965), hard=score(0.942))) == (
        "With 96.5 ± 0.2 % accuracy, the student beats training on decisions only (94.2 ± 0.2 %) by 2.3 points, "
        "more than both deviations together."
    )


def test_a_gain_inside_the_deviations_is_noise() -> None:
    said = say(metrics(score(0.945), hard=score(0.942)))
    assert "within noise of training on decisions only (94.2 ± 0.2 %): 0.3 points above" in said
    assert "beats" not in said


def test_a_loss_is_told_and_so_is_a_stronger_rival() -> None:
    said = say(metrics(score(0.93), hard=score(0.942), augmented=score(0.98)))
    assert said == (
        "With 93.0 ± 0.2 % accuracy, the student falls behind training on decisions only (94.2 ± 0.2 %) by 1.2 points, "
        "more than both deviations together; it falls behind the strongest black-box baseline, “Augmented decisions” "
        "(98.0 ± 0.2 %) by 5.0 points, more than both deviations together."
    )


def test_what_a_black_box_denies_is_no_rival() -> None:
    assert "99" not in say(metrics(score(0.965), hard=score(0.942), kd=score(0.99)))


def test_one_seed_claims_no_significance() -> None:
    said = say(metrics(score(0.965, 0.0), 1, hard=score(0.942, 0.0)))
    assert "deviations" not in said
    assert "±" not in said
    assert "chance is not ruled out" in said


def test_without_baselines_the_number_stands_alone() -> None:
    assert "stands alone" in say(metrics(score(0.965)))


def test_without_hard_the_strongest_baseline_is_compared() -> None:
    assert "beats “Smoothing”" in say(metrics(score(0.965), smoothing=score(0.95)))


def test_without_labels_agreement_is_compared() -> None:
    values = metrics(score(0.965), labelled=False, hard=score(0.942))
    assert say(values).startswith("With 96.5 ± 0.2 % agreement")
