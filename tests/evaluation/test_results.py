"""metrics.json: its keys, its numbers, and what stands there without labels."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from db3.errors import DataError
from db3.evaluation import (
    Metrics,
    RunFacts,
    Size,
    TeacherDecisions,
    VariantDecisions,
    accuracy,
    build_metrics,
    build_summary,
)
from flows.manifests import to_json

N, K = 40, 4
RANDOM = np.random.default_rng(3)
LABELS = RANDOM.integers(0, K, N)
TEACHER = np.where(RANDOM.random(N) < 0.9, LABELS, (LABELS + 1) % K)


def variant(name: str, queries: float, seeds: int = 3, black_box: bool = True) -> VariantDecisions:
    random = np.random.default_rng(len(name))
    tables = {seed: np.where(random.random(N) < 0.8, TEACHER, random.integers(0, K, N)) for seed in range(seeds)}
    return VariantDecisions(name, queries, black_box, tables)


VARIANTS = [
    variant("student", 91.5),
    variant("hard", 1),
    variant("kd", 1, black_box=False),
    variant("student@50", 50),
    variant("student@5", 5),
]

FACTS = RunFacts(
    teacher=Size(187_780, 751_120, 2_293_000),
    student=Size(47_645, 190_580, 591_500),
    student_digest="57" * 32,
    queries_asked=36_600,
    queries_per_sample=91.5,
    transfer_digest="ab" * 32,
)


def build(
    labels: np.ndarray | None,
    variants: list[VariantDecisions] = VARIANTS,
    teacher_decisions: np.ndarray | None = TEACHER,
) -> dict:
    return asdict(measured(labels, variants, teacher_decisions))


def measured(
    labels: np.ndarray | None,
    variants: list[VariantDecisions] = VARIANTS,
    teacher_decisions: np.ndarray | None = TEACHER,
) -> Metrics:
    teacher = None if teacher_decisions is None else TeacherDecisions.on_all(teacher_decisions)
    return build_metrics(teacher, variants, labels, FACTS)


def summarised(*given: object) -> dict:
    return to_json(build_summary(measured(*given)))


def test_keys_are_those_of_the_contract() -> None:
    metrics = build(LABELS)
    named = {"teacher", "student", "queries", "transfer", "baselines", "curve", "test_images", "seeds"}
    assert set(metrics) == {*named, "int8", "certified"}  # metrics.json leaves those two out where not asked for
    assert metrics["int8"] is None
    assert set(metrics["teacher"]) == {"accuracy", "parameters", "bytes", "multiply_adds"}
    assert set(metrics["student"]) == {"accuracy", "agreement", "parameters", "bytes", "multiply_adds", "digest"}
    assert metrics["queries"] == {"asked": 36_600, "per_sample": 91.5, "spent": False, "evaluation": N}
    assert metrics["transfer"] == {"digest": "ab" * 32}
    assert set(metrics["baselines"]) == {"hard", "kd"}
    assert set(metrics["baselines"]["kd"]) == {"accuracy", "agreement", "queries_per_sample", "black_box"}
    assert (metrics["test_images"], metrics["seeds"]) == (N, 3)
    json.dumps(metrics, allow_nan=False)


def test_the_summary_is_flat_short_and_says_the_same() -> None:
    metrics = build(LABELS)
    summary = summarised(LABELS)
    assert set(summary) == {"accuracy", "agreement", "sd", "hard", "teacher", "queries", "transfer"}
    assert summary["accuracy"] == metrics["student"]["accuracy"]["mean"]
    assert summary["hard"] == metrics["baselines"]["hard"]["accuracy"]["mean"]
    assert summary["transfer"] == "ab" * 6
    without = summarised(None)
    metrics = build(None)
    assert (without["accuracy"], without["teacher"]) == (None, None)
    assert without["agreement"] == metrics["student"]["agreement"]["mean"]
    assert without["hard"] == metrics["baselines"]["hard"]["agreement"]["mean"]


def test_numbers_are_those_of_the_decisions() -> None:
    metrics = build(LABELS)
    values = [accuracy(VARIANTS[0].decisions[seed], LABELS) for seed in range(3)]
    assert metrics["teacher"]["accuracy"] == round(float(np.mean(TEACHER == LABELS)), 6)
    assert metrics["student"]["accuracy"]["mean"] == pytest.approx(np.mean(values), abs=1e-6)
    assert metrics["student"]["accuracy"]["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-6)
    assert metrics["baselines"]["kd"]["black_box"] is False


def test_curve_is_the_students_own_points_by_queries() -> None:
    metrics = build(LABELS)
    assert [point["queries_per_sample"] for point in metrics["curve"]] == [5, 50, 91.5]
    assert metrics["curve"][-1]["accuracy"] == metrics["student"]["accuracy"]


def test_without_labels_accuracy_is_null_and_agreement_stays() -> None:
    metrics, labelled = build(None), build(LABELS)
    assert metrics["teacher"]["accuracy"] is None
    assert metrics["student"]["accuracy"] is None
    assert metrics["baselines"]["hard"]["accuracy"] is None
    assert all(point["accuracy"] is None for point in metrics["curve"])
    assert metrics["student"]["agreement"] == labelled["student"]["agreement"]


def test_without_the_teacher_s_decisions_accuracy_stays_and_agreement_is_null() -> None:
    metrics, whole = build(LABELS, teacher_decisions=None), build(LABELS)
    assert metrics["teacher"]["accuracy"] is None
    assert metrics["student"]["accuracy"] == whole["student"]["accuracy"]
    assert metrics["student"]["agreement"] is None
    assert metrics["baselines"]["hard"]["agreement"] is None
    assert (metrics["queries"]["evaluation"], metrics["test_images"]) == (0, N)
    summary = summarised(LABELS, VARIANTS, None)
    assert (summary["accuracy"], summary["agreement"]) == (metrics["student"]["accuracy"]["mean"], None)


def test_one_seed_has_no_spread() -> None:
    metrics = build(LABELS, [variant("student", 91.5, seeds=1)])
    assert metrics["student"]["accuracy"]["sd"] == 0
    assert metrics["baselines"] == {}


def test_a_missing_student_is_named() -> None:
    with pytest.raises(DataError, match=r"\['hard'\] hold no `student`"):
        build(LABELS, [variant("hard", 1)])


def test_the_teacher_may_have_been_asked_about_some() -> None:
    rows = np.array([3, 5, 8, 13, 21])
    teacher = TeacherDecisions(rows, TEACHER[rows])
    found = build_metrics(teacher, VARIANTS[:1], LABELS, FACTS)
    decided = VARIANTS[0].decisions
    agreed = [float((decided[seed][rows] == TEACHER[rows]).mean()) for seed in sorted(decided)]
    assert found.student.agreement is not None
    assert found.student.agreement.mean == pytest.approx(np.mean(agreed), abs=1e-6)
    assert found.teacher.accuracy == pytest.approx((TEACHER[rows] == LABELS[rows]).mean())
    assert found.student.accuracy == build_metrics(None, VARIANTS[:1], LABELS, FACTS).student.accuracy
    assert (found.queries.evaluation, found.test_images) == (5, N)
