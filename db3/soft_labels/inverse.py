"""The paper's mapping: z_k = 1/d_k, z_m = Σ_{k≠m} z_k, p = softmax(z/τ) (paper, section 3)."""

import math

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64

from db3.arithmetic.sums import row_sum
from db3.soft_labels.softmax import softmax

_SMALLEST = 1e-6  # a sample on the boundary itself: 1/d stays finite


def inverse(
    distances: Float[np.ndarray, "n k"], decisions: Int64[np.ndarray, " n"], temperature: float
) -> Float32[np.ndarray, "n k"]:
    """Soft labels p = softmax(z/τ) from robustness z_k = 1/d_k.

    Args:
        distances: d_k; +inf (never reached) gives z_k = 0, and a sample that reached no class keeps its bare decision.
            The entry of the decision itself is not read.
        decisions: m, the teacher's decision on each sample.
        temperature: τ; 20 in the paper's reference code.
    """
    z = _robustness(distances, decisions)
    alone = ~z.any(axis=1)
    labels = softmax(z / temperature)
    labels[alone] = np.eye(z.shape[1], dtype=np.float32)[decisions[alone]]
    return labels


def inverse_temperature(distances: Float[np.ndarray, "n k"], decisions: Int64[np.ndarray, " n"], gap: float) -> float:
    """The τ at which the mean log-odds between the decision and another class is `gap`: mean(z_m − z_k) / gap.

    The same rule as the margin mapping's β, so that the two are compared at one sharpness.
    """
    z = _robustness(distances, decisions)
    top = z[np.arange(len(z)), decisions]
    classes = z.shape[1]
    gaps: list[float] = (top * classes - _row_sum(z)).tolist()
    found = math.fsum(gaps) / (len(gaps) * (classes - 1) * gap)
    return max(float(found), _SMALLEST)


def _robustness(distances: Float[np.ndarray, "n k"], decisions: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, "n k"]:
    z = 1.0 / np.maximum(distances.astype(np.float64), _SMALLEST)
    rows = np.arange(len(z))
    z[rows, decisions] = 0.0
    z[rows, decisions] = _row_sum(z)
    return z


def _row_sum(z: Float64[np.ndarray, "n k"]) -> Float64[np.ndarray, " n"]:
    sums: Float64[np.ndarray, " n"] = row_sum(torch.from_numpy(z)).numpy()
    return sums
