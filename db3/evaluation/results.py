"""metrics.json: every number of a run in one dictionary (docs/pipeline.md lists its keys)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from db3.errors import DataError
from db3.evaluation.measures import accuracy, agreement, measure_of, summary

DECIMALS = 6  # finer than one image in a million, coarser than any float noise
SHOWN_BASELINES = ("hard", "smoothing", "augmented")  # the strongest competitors, and what decisions alone teach

Labels = Int[np.ndarray, " n"]


@dataclass(frozen=True)
class Size:
    """How large a model is; None where it cannot be known (a remote teacher)."""

    parameters: int | None = None
    bytes: int | None = None
    multiply_adds: int | None = None


@dataclass(frozen=True)
class Variant:
    """One way of training a student, and what its students decided on the test split.

    Attributes:
        name: `student`, a baseline's name, or `student@Q` for a point of the curve.
        queries_per_sample: queries asked per sample to train it.
        black_box: whether it needs nothing but decisions.
        decisions: int64 [n] for each seed.
    """

    name: str
    queries_per_sample: int | float
    black_box: bool
    decisions: Mapping[int, Int[np.ndarray, " n"]]

    @property
    def is_checkpoint(self) -> bool:
        """Whether it is a point on the student's curve and not a variant of its own."""
        return self.name.startswith("student@")


def build_metrics(
    teacher_decisions: Labels | None,
    variants: Sequence[Variant],
    labels: Labels | None,
    *,
    teacher: Size,
    student: Size,
    queries_asked: int,
    queries_per_sample: int | float,
    transfer_digest: str,
    budget_spent: bool = False,
) -> dict[str, Any]:
    """Assemble metrics.json.

    Without labels every accuracy, and so the curve's too, is null and agreement alone tells students apart: keys never
    come and go, so a reader needs no second schema. Without the teacher's decisions on the test split its accuracy and
    every agreement are null. Shares are rounded to six decimals. The curve is the `student@Q` variants and the student
    itself, by queries. `queries.spent` says that the budget ended the searches; `queries.evaluation` counts the test
    images that the teacher was asked about, which `queries.asked` does not hold.

    Raises:
        DataError: there is no variant named `student`, or a variant has no seeds or another number of images.
    """
    own = next((variant for variant in variants if variant.name == "student"), None)
    if own is None:
        raise DataError(
            f"variants {[variant.name for variant in variants]} hold no `student`; expected it: run the "
            "distill stage again"
        )
    baselines = [variant for variant in variants if variant is not own and not variant.is_checkpoint]
    curve = sorted(
        (variant for variant in variants if variant is own or variant.is_checkpoint),
        key=lambda variant: variant.queries_per_sample,
    )
    return {
        "teacher": {
            "accuracy": None
            if labels is None or teacher_decisions is None
            else _rounded(accuracy(teacher_decisions, labels)),
            **asdict(teacher),
        },
        "student": {**_scores(own, teacher_decisions, labels), **asdict(student)},
        "queries": {
            "asked": queries_asked,
            "per_sample": _rounded(queries_per_sample),
            "spent": budget_spent,
            "evaluation": 0 if teacher_decisions is None else len(teacher_decisions),
        },
        "transfer": {"digest": transfer_digest},
        "baselines": {
            variant.name: {
                **_scores(variant, teacher_decisions, labels),
                "queries_per_sample": _rounded(variant.queries_per_sample),
                "black_box": variant.black_box,
            }
            for variant in baselines
        },
        "curve": [
            {
                "queries_per_sample": _rounded(variant.queries_per_sample),
                "accuracy": _scores(variant, teacher_decisions, labels)["accuracy"],
            }
            for variant in curve
        ],
        "test_images": len(next(iter(own.decisions.values()))),
        "seeds": len(own.decisions),
    }


def build_summary(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The few numbers of metrics.json that tell runs apart, flat and short: DVC's tables have a column for each.

    Where there are no labels, `accuracy` and `teacher` are null and the baselines' numbers are agreements; `agreement`
    and `teacher` are null where the teacher was not asked.
    """
    measure = measure_of(metrics)
    scores = metrics["student"][measure]
    accuracy = scores["mean"] if measure == "accuracy" else None
    agreed = (metrics["student"]["agreement"] or {"mean": None})["mean"]
    student = {"accuracy": accuracy, "agreement": agreed, "sd": scores["sd"]}
    baselines = {name: metrics["baselines"].get(name) for name in SHOWN_BASELINES}
    return {
        **student,
        **{name: baseline[measure]["mean"] for name, baseline in baselines.items() if baseline},
        "teacher": metrics["teacher"]["accuracy"],
        "queries": metrics["queries"]["per_sample"],
        "transfer": metrics["transfer"]["digest"][:12],
    }


def accuracies(variant: Variant, labels: Labels) -> list[float]:
    """Accuracy of each seed's student, in the order of the seeds."""
    return [accuracy(variant.decisions[seed], labels) for seed in sorted(variant.decisions)]


def agreements(variant: Variant, teacher_decisions: Int[np.ndarray, " n"]) -> list[float]:
    """Agreement of each seed's student with the teacher, in the order of the seeds."""
    return [agreement(variant.decisions[seed], teacher_decisions) for seed in sorted(variant.decisions)]


def _scores(
    variant: Variant, teacher_decisions: Labels | None, labels: Labels | None
) -> dict[str, dict[str, float] | None]:
    return {
        "accuracy": None if labels is None else _summary(accuracies(variant, labels)),
        "agreement": None if teacher_decisions is None else _summary(agreements(variant, teacher_decisions)),
    }


def _summary(values: list[float]) -> dict[str, float]:
    return {name: _rounded(value) for name, value in summary(values).items()}


def _rounded(value: int | float) -> float:
    return round(float(value), DECIMALS)
