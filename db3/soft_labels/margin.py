"""The margin mapping: p = softmax(−β·d), d_m = 0. The recommended default.

To first order the gap between two logits is the distance to their boundary times a gradient norm, so logits are linear
in −d; better distances then give better labels, which the paper's mapping does not show.
"""

import math

import numpy as np
from jaxtyping import Float, Float32, Int64

from db3.soft_labels.softmax import softmax

_SMALLEST = 1e-6  # every sample on its boundaries: β stays finite


def margin(
    distances: Float[np.ndarray, "n k"], decisions: Int64[np.ndarray, " n"], beta: float
) -> Float32[np.ndarray, "n k"]:
    """Soft labels p = softmax(−β·d).

    Args:
        distances: d_k in pixels of the teacher's bounds; +inf (never reached) gives probability 0. The entry of the
            decision itself is taken as 0.
        decisions: m, the teacher's decision on each sample.
        beta: logit per unit of distance.
    """
    logits = -beta * distances.astype(np.float64)
    logits[np.arange(len(logits)), decisions] = 0.0
    return softmax(logits)


def margin_beta(distances: Float[np.ndarray, "n k"], decisions: Int64[np.ndarray, " n"], gap: float) -> float:
    """The β at which the mean log-odds between the decision and another class is `gap`: gap / mean(d).

    The mean runs over all pairs that were reached, and is summed without rounding. No test data, no labels.
    """
    reached = _others(distances, decisions)
    return gap / max(math.fsum(reached.tolist()) / len(reached), _SMALLEST)


def _others(distances: Float[np.ndarray, "n k"], decisions: Int64[np.ndarray, " n"]) -> Float[np.ndarray, " _"]:
    """Distances of the pairs that were reached, in one row."""
    other = np.isfinite(distances)
    other[np.arange(len(other)), decisions] = False
    if not other.any():
        return np.ones(1)  # no boundary known at all: any scale gives the bare decisions
    reached: Float[np.ndarray, " _"] = distances[other]
    return reached
