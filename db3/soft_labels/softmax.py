"""Softmax over the last axis, in float64."""

import numpy as np
from jaxtyping import Float32, Float64


def softmax(logits: Float64[np.ndarray, "n k"]) -> Float32[np.ndarray, "n k"]:
    """Rows of exp(z) / Σ exp(z), stable for large z; −inf has probability 0. Rounded once, to float32, at the end."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    labels: Float32[np.ndarray, "n k"] = (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)
    return labels
