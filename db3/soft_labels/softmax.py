"""Softmax over the last axis, in float64: the same bits on every machine."""

import numpy as np
import torch
from jaxtyping import Float32, Float64

from db3 import arithmetic


def softmax(logits: Float64[np.ndarray, "n k"]) -> Float32[np.ndarray, "n k"]:
    """Rows of exp(z) / Σ exp(z), stable for large z; −inf has probability 0. Rounded once, to float32, at the end."""
    labels: Float32[np.ndarray, "n k"] = arithmetic.softmax(torch.from_numpy(np.array(logits))).float().numpy()
    return labels
