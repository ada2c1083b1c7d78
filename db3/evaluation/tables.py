"""The CSV files of data/evaluation/: fixed columns, fixed number format and line ends, so that bytes are stable."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from db3.evaluation.measures import summary
from db3.evaluation.results import DECIMALS, Labels, TeacherDecisions, VariantDecisions, accuracies, agreements
from db3.files import write_text


def write_confusion(path: Path, counts: Int[np.ndarray, "k k"]) -> None:
    """confusion.csv: `teacher,student,count`, classes by number, row by row; pairs that never occur are left out.

    Only its header where the teacher was not asked about the test split.
    """
    cells = ((row, column, counts[row, column]) for row, column in np.argwhere(counts))
    _write(path, "teacher,student,count", (f"{row},{column},{count}" for row, column, count in cells))


def write_accuracy(
    path: Path, teacher: TeacherDecisions | None, variants: Sequence[VariantDecisions], labels: Labels | None
) -> None:
    """accuracy.csv: `variant,seed,accuracy,agreement`, every variant and seed.

    Accuracy is empty without labels, agreement without the teacher's decisions.
    """
    lines = []
    for variant in variants:
        seeds = sorted(variant.decisions)
        right = [""] * len(seeds) if labels is None else [_number(value) for value in accuracies(variant, labels)]
        alike = [""] * len(seeds)
        if teacher is not None:
            alike = [_number(value) for value in agreements(variant, teacher)]
        lines += [f"{variant.name},{seed},{a},{b}" for seed, a, b in zip(seeds, right, alike, strict=True)]
    _write(path, "variant,seed,accuracy,agreement", lines)


def write_curve(path: Path, variants: Sequence[VariantDecisions], labels: Labels | None) -> None:
    """curve.csv: `variant,queries_per_sample,accuracy,sd`, one row a variant; empty but for its header without
    labels.
    """
    rows = [] if labels is None else [(variant, summary(accuracies(variant, labels))) for variant in variants]
    _write(
        path,
        "variant,queries_per_sample,accuracy,sd",
        (f"{a.name},{_number(a.queries_per_sample)},{_number(s['mean'])},{_number(s['sd'])}" for a, s in rows),
    )


def _number(value: int | float) -> str:
    return f"{value:.{DECIMALS}f}"


def _write(path: Path, header: str, lines: Iterable[str]) -> None:
    write_text(path, "\n".join([header, *lines]) + "\n")
