"""Temperature scaling: one number that makes a student's probabilities mean what they say.

Source: Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017. All logits are divided
by one temperature, the one under which the teacher's decisions on held-out images are likeliest. No decision changes.
"""

import math

import numpy as np
from jaxtyping import Float, Float64, Int

from db3.errors import DataError

COLDEST, HOTTEST = 0.05, 20.0
_STEPS = 60
_GOLDEN = (math.sqrt(5) - 1) / 2
_LEAST = 1e-30  # a probability of 0 is one that float32 could not hold


def fit_temperature(probabilities: Float[np.ndarray, "n k"], decisions: Int[np.ndarray, " m"]) -> float:
    """The temperature under which the decisions are likeliest, between 0.05 and 20.

    The mean log-likelihood has one maximum in 1 / temperature, so a golden-section search finds it; the same arrays
    give the same number on every run.

    Args:
        probabilities: the student's, each row summing to 1.
        decisions: the teacher's on the same images, none of which the student was trained on.

    Raises:
        DataError: no image, lengths that differ, or a decision outside 0 … K−1.
    """
    logs = _logs(probabilities)
    check_decided(probabilities, decisions)
    low, high = 1 / HOTTEST, 1 / COLDEST
    inner, outer = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    left, right = _loss(logs, decisions, inner), _loss(logs, decisions, outer)
    for _ in range(_STEPS):
        if left <= right:
            high, outer, right = outer, inner, left
            inner = high - _GOLDEN * (high - low)
            left = _loss(logs, decisions, inner)
        else:
            low, inner, left = inner, outer, right
            outer = low + _GOLDEN * (high - low)
            right = _loss(logs, decisions, outer)
    return 2 / (low + high)


def calibrated(probabilities: Float[np.ndarray, "n k"], temperature: float) -> Float64[np.ndarray, "n k"]:
    """The probabilities that the same logits give at another temperature; their order in a row stays."""
    logs = _logs(probabilities) / temperature
    scaled = np.exp(logs - logs.max(axis=1, keepdims=True))
    shares: Float64[np.ndarray, "n k"] = scaled / scaled.sum(axis=1, keepdims=True)
    return shares


def calibration_error(scores: Float[np.ndarray, " n"], agrees: Float[np.ndarray, " n"], bins: int = 15) -> float:
    """Expected calibration error: mean distance of score and share of agreement, over equally filled bins."""
    order = np.argsort(scores, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [abs(float(scores[part].mean() - agrees[part].mean())) * len(part) for part in parts]
    return sum(gaps) / len(scores)


def check_decided(probabilities: Float[np.ndarray, "n k"], decisions: Int[np.ndarray, " m"]) -> None:
    """Refuse probabilities and decisions that do not belong together.

    Raises:
        DataError: no image, lengths that differ, or a decision outside 0 … K−1.
    """
    if len(probabilities) != len(decisions) or not len(decisions):
        raise DataError(
            f"{len(probabilities)} rows of probabilities beside {len(decisions)} decisions; expected one of each an "
            "image, and one image at least"
        )
    classes = probabilities.shape[1]
    if decisions.min() < 0 or decisions.max() >= classes:
        wrong = decisions.min() if decisions.min() < 0 else decisions.max()
        raise DataError(f"a decision is {wrong}; expected 0 … {classes - 1}: check that both know the same classes")


def _loss(logs: Float64[np.ndarray, "n k"], decisions: Int[np.ndarray, " n"], inverse: float) -> float:
    scaled = logs * inverse
    top = scaled.max(axis=1)
    norms = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
    return float((norms - scaled[np.arange(len(decisions)), decisions]).mean())


def _logs(probabilities: Float[np.ndarray, "n k"]) -> Float64[np.ndarray, "n k"]:
    logs: Float64[np.ndarray, "n k"] = np.log(np.maximum(probabilities.astype(np.float64), _LEAST))
    return logs
