"""How much a student answers, against how often it then agrees: the curve that a gate is one point of."""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from db3.errors import DataError
from db3.evaluation.binomial import clopper_pearson
from db3.evaluation.results import DECIMALS
from db3.files import write_text


@dataclass(frozen=True)
class CoveragePoint:
    """A threshold, by itself.

    Attributes:
        threshold: images with this score or a higher one are answered.
        coverage: their share.
        agreement: share of them that agree.
        low: the least agreement that this allows, for this point alone: a threshold picked from the curve promises
            less than `low` says; `choose_gate` accounts for the choice.
        high: the most.
    """

    threshold: float
    coverage: float
    agreement: float
    low: float
    high: float


def coverage_curve(
    scores: Float[np.ndarray, " n"], agrees: Bool[np.ndarray, " m"], points: int = 50, confidence: int | float = 0.95
) -> list[CoveragePoint]:
    """Points of the curve, from the strictest threshold to all images.

    Args:
        scores: the student's largest probability for each decided image.
        agrees: whether student and teacher decide it alike.
        points: at most; evenly spaced in coverage. Equal scores share a point.
        confidence: of each point's `low` and `high` together.

    Raises:
        DataError: no image, or lengths that differ.
    """
    if len(scores) != len(agrees) or not len(scores):
        raise DataError(
            f"{len(scores)} scores beside {len(agrees)} agreements; expected one of each, and one image at least"
        )
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], np.cumsum(agrees[order])
    ends = np.linspace(0, len(scores), points + 1).round().astype(int)[1:]
    ends = np.unique([np.searchsorted(-ranked, -ranked[max(end, 1) - 1], side="right") for end in ends])
    found = []
    for end in ends.tolist():
        alike = int(right[end - 1])
        low, high = clopper_pearson(alike, end, confidence)
        found.append(CoveragePoint(float(ranked[end - 1]), end / len(scores), alike / end, low, high))
    return found


def write_coverage(path: Path, curve: Sequence[CoveragePoint]) -> None:
    """coverage.csv: `threshold,coverage,agreement,low,high`, a row a point; only its header of an empty curve.

    Thresholds are rounded down, so that the images of a point still have that score or a higher one.
    """
    whole = 10**DECIMALS
    rows = [(math.floor(point.threshold * whole) / whole, *astuple(point)[1:]) for point in curve]
    lines = [",".join(f"{value:.{DECIMALS}f}" for value in row) for row in rows]
    write_text(path, "\n".join(["threshold,coverage,agreement,low,high", *lines]) + "\n")
