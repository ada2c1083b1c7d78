"""Evaluation of the students on the test split."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8
from torch import nn

from db3.evaluation.measures import confusion
from db3.evaluation.results import Metrics, RunFacts, TeacherDecisions, VariantDecisions, build_metrics
from db3.teachers.decide import decide_all


@dataclass(frozen=True)
class VariantStudents:
    """The students of a variant.

    Attributes:
        name: see `VariantDecisions`.
        queries_per_sample: see `VariantDecisions`.
        black_box: see `VariantDecisions`.
        students: seed and network of each; read once, so that networks may be opened one after the other.
    """

    name: str
    queries_per_sample: float
    black_box: bool
    students: Iterable[tuple[int, nn.Module]]


@dataclass(frozen=True)
class Evaluation:
    """What the students are worth.

    Attributes:
        metrics: every number.
        confusion: counts [K, K], the teacher's decision (row) and that of the first seed's student; empty where the
            teacher was not asked.
        variants: decisions of every student.
    """

    metrics: Metrics
    confusion: Int[np.ndarray, "k k"]
    variants: list[VariantDecisions]


def evaluate_students(
    variants: Iterable[VariantStudents],
    images: UInt8[np.ndarray, "n c h w"],
    labels: Int[np.ndarray, " n"] | None,
    teacher: TeacherDecisions | None,
    facts: RunFacts,
    *,
    classes: int,
    batch: int = 256,
) -> Evaluation:
    """Accuracy and agreement of every variant's students on the test split.

    Args:
        variants: and their students; one is named `student`.
        images: of the test split.
        labels: their true classes, if there are any.
        teacher: its decisions on them, or on some of them; None: it was not asked.
        facts: what the metrics tell beside.
        classes: K.
        batch: images a call.

    Raises:
        DataError: there is no variant named `student`, or no test image.
    """
    decided = [
        VariantDecisions(
            variant.name,
            variant.queries_per_sample,
            variant.black_box,
            {seed: decide_all(network, images, batch) for seed, network in variant.students},
        )
        for variant in variants
    ]
    metrics = build_metrics(teacher, decided, labels, facts)
    counts = np.zeros((0, 0), np.int64)
    if teacher is not None:
        own = next(variant for variant in decided if variant.name == "student")
        counts = confusion(teacher.decisions, own.decisions[min(own.decisions)][teacher.rows], classes)
    return Evaluation(metrics, counts, decided)
