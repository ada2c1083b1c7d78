"""Parents: which decided images a variation descends from."""

import numpy as np
import torch
from jaxtyping import Float64, Int64

from db3.images.draws import draw
from db3.rng import Purpose


def draw_parents(
    decisions: Int64[np.ndarray, " n"],
    numbers: Int64[np.ndarray, " m"],
    seed: int,
    real: int = 0,
    loyalty: float = 0.0,
) -> Int64[np.ndarray, "m 2"]:
    """Two parents of each child: a class in equal shares, then an image of it.

    Args:
        decisions: of all that may be parents.
        numbers: of the children.
        seed: of the draws.
        real: the first so many of them are real images.
        loyalty: share of the children whose first parent is a real one.
    """
    number = torch.from_numpy(numbers)
    drawn: Float64[np.ndarray, "m 5"] = draw(seed, Purpose.PARENT, number, 5).double().numpy()
    parents = _of_any_class(decisions, drawn[:, :2], drawn[:, 2:4])
    if real:
        loyal = drawn[:, 4] < loyalty
        parents[loyal, :1] = _of_any_class(decisions[:real], drawn[loyal, :1], drawn[loyal, 2:3])
    return parents


def _of_any_class(
    decisions: Int64[np.ndarray, " n"], class_draw: Float64[np.ndarray, "m p"], member_draw: Float64[np.ndarray, "m p"]
) -> Int64[np.ndarray, "m p"]:
    order = np.argsort(decisions, kind="stable")
    counts = np.bincount(decisions)
    present = np.flatnonzero(counts)
    starts = np.cumsum(counts) - counts
    chosen = present[(class_draw * len(present)).astype(np.int64)]
    parents: Int64[np.ndarray, "m p"] = order[starts[chosen] + (member_draw * counts[chosen]).astype(np.int64)]
    return parents
