"""The CSV files: exact bytes, and the same numbers as metrics.json."""

import csv
from pathlib import Path

import numpy as np

from db3.evaluation import TeacherDecisions, VariantDecisions, write_accuracy, write_confusion, write_curve

TEACHER = TeacherDecisions.on_all(np.array([0, 1, 1, 0]))
LABELS = np.array([0, 1, 0, 0])
VARIANTS = [
    VariantDecisions("student", 12.25, True, {0: np.array([0, 1, 1, 0]), 1: np.array([0, 1, 0, 1])}),
    VariantDecisions("hard", 1, True, {0: np.array([1, 1, 0, 0])}),
]


def test_confusion_holds_what_occurs(tmp_path: Path) -> None:
    write_confusion(tmp_path / "c.csv", np.array([[2, 1], [0, 5]]))
    assert (tmp_path / "c.csv").read_bytes() == b"teacher,student,count\n0,0,2\n0,1,1\n1,1,5\n"


def test_accuracy_has_a_row_for_each_variant_and_seed(tmp_path: Path) -> None:
    write_accuracy(tmp_path / "a.csv", TEACHER, VARIANTS, LABELS)
    assert (tmp_path / "a.csv").read_text() == (
        "variant,seed,accuracy,agreement\n"
        "student,0,0.750000,1.000000\n"
        "student,1,0.750000,0.500000\n"
        "hard,0,0.750000,0.500000\n"
    )


def test_accuracy_is_empty_without_labels(tmp_path: Path) -> None:
    write_accuracy(tmp_path / "a.csv", TEACHER, VARIANTS, None)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["accuracy"] for row in rows] == ["", "", ""]
    assert [float(row["agreement"]) for row in rows] == [1, 0.5, 0.5]


def test_curve_has_a_row_for_each_variant(tmp_path: Path) -> None:
    write_curve(tmp_path / "k.csv", VARIANTS, LABELS)
    assert (tmp_path / "k.csv").read_text() == (
        "variant,queries_per_sample,accuracy,sd\nstudent,12.250000,0.750000,0.000000\nhard,1.000000,0.750000,0.000000\n"
    )
    write_curve(tmp_path / "k.csv", VARIANTS, None)
    assert (tmp_path / "k.csv").read_text() == "variant,queries_per_sample,accuracy,sd\n"
