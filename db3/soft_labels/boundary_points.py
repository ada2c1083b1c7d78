"""Boundary points: labels of the boundary points that a search has paid for, as samples of their own.

A search ends at the nearest image it knows between decision m and class k. There the teacher is undecided, so a label
of half m and half k is nearly true, and it costs no further query.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from db3.soft_labels.softmax import softmax


def boundary_point_labels(
    distances: Float[np.ndarray, "n k"],
    decisions: Int64[np.ndarray, " n"],
    pairs: Int64[np.ndarray, "p 2"],
    beta: float | None = None,
    smoothing: float = 0.0,
) -> Float32[np.ndarray, "p k"]:
    """Labels of the boundary points of the given pairs.

    Without `beta` a label is ½ at m and ½ at k, as fits bare decisions. With it the label is what the margin mapping
    says at that point, p = softmax(−β·d′): d′_m = d′_k = 0, and another class j lies no nearer than d′_j =
    max(0, d_j − d_k), since the point is d_k away from the sample (triangle inequality). Labels of one β agree: halves
    beside flat margin labels would tell the student two different slopes for one boundary.

    Args:
        distances: d of the samples, +inf where a class was not reached (it has probability 0 here too).
        decisions: m of the samples.
        pairs: (sample, class k) of each point; d_k of each must be finite.
        beta: of the margin labels of the samples; None: halves.
        smoothing: ε, mixed in as ε / K for every class: (1 − ε)·p + ε / K.
    """
    rows, k = pairs.T
    m, points = decisions[rows], np.arange(len(pairs))
    if beta is None:
        labels = np.zeros((len(pairs), distances.shape[1]), np.float32)
        labels[points, m] = labels[points, k] = 0.5
    else:
        left = (distances[rows].astype(np.float64) - distances[rows, k, None]).clip(min=0)
        left[points, m] = left[points, k] = 0
        labels = softmax(-beta * left)
    return smoothed(labels, smoothing)


def smoothed(labels: Float32[np.ndarray, "p k"], share: float) -> Float32[np.ndarray, "p k"]:
    """(1 − ε)·p + ε / K with ε = `share`."""
    if not share:
        return labels
    mixed: Float64[np.ndarray, "p k"] = (1 - share) * labels.astype(np.float64) + share / labels.shape[1]
    return mixed.astype(np.float32)


def closed(distances: Float[np.ndarray, "n k"], pairs: Int64[np.ndarray, "p 2"]) -> Bool[np.ndarray, " p"]:
    """Which pairs have a boundary point: those that reached their class, away from the sample itself."""
    rows, k = pairs.T
    found: Bool[np.ndarray, " p"] = np.isfinite(distances[rows, k]) & (distances[rows, k] > 0)
    return found
