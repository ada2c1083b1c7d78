"""Parents: which decided images a variation descends from."""

import numpy as np
import torch
from jaxtyping import Float64, Int64

from db3 import rng

_PARENT = 200  # role that keys the draws, apart from those of the images


def draw_parents(
    decisions: Int64[np.ndarray, " n"], numbers: Int64[np.ndarray, " m"], seed: int
) -> Int64[np.ndarray, "m 2"]:
    """Two parents of each child: a class in equal shares, then an image of it."""
    order = np.argsort(decisions, kind="stable")
    counts = np.bincount(decisions)
    present = np.flatnonzero(counts)
    starts = np.cumsum(counts) - counts
    number = torch.from_numpy(numbers)
    drawn: Float64[np.ndarray, "m 4"] = (
        rng.uniform(seed, number, torch.full_like(number, _PARENT), torch.zeros_like(number), 4).double().numpy()
    )
    klass = present[(drawn[:, :2] * len(present)).astype(np.int64)]
    parents: Int64[np.ndarray, "m 2"] = order[starts[klass] + (drawn[:, 2:] * counts[klass]).astype(np.int64)]
    return parents
