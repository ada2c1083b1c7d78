"""Which images are for training and which for the test: functions of counts, labels and a seed."""

import numpy as np
from jaxtyping import Int64

from db3 import rng
from db3.errors import DataError
from db3.rng import Purpose


def published(train: int, test: int) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
    """The publisher's split: the first `train` images, then `test` images."""
    return np.arange(train, dtype=np.int64), np.arange(train, train + test, dtype=np.int64)


def held_out(
    labels: Int64[np.ndarray, " n"], test_fraction: float, seed: int
) -> tuple[Int64[np.ndarray, " a"], Int64[np.ndarray, " b"]]:
    """Hold out `round(test_fraction · n)` images, every class in its proportion.

    Each class gives the whole part of its share; the rest goes to the largest remainders (lower class first). A class
    always keeps one image for training, so with many classes of one image the test part is smaller.

    Args:
        labels: class of each image; all equal where there are none.
        test_fraction: between 0 and 1.
        seed: which images of a class are held out.
    """
    if len(labels) < 2:
        raise DataError(f"{len(labels)} image cannot be split into training and test; expected 2 or more: add images")
    classes, counts = np.unique(labels, return_counts=True)
    total = max(1, round(test_fraction * len(labels)))
    quota = np.floor(test_fraction * counts).astype(np.int64)
    remainder = test_fraction * counts - quota
    for place in np.argsort(-remainder, kind="stable")[: total - int(quota.sum())]:
        quota[place] += 1
    quota = np.minimum(quota, counts - 1)
    test = np.zeros(len(labels), dtype=np.bool_)
    for label, share in zip(classes.tolist(), quota.tolist(), strict=True):
        members = np.flatnonzero(labels == label)
        test[members[rng.permutation(len(members), seed, Purpose.SPLIT, label)[:share]]] = True
    return np.flatnonzero(~test).astype(np.int64), np.flatnonzero(test).astype(np.int64)


def draw(index: Int64[np.ndarray, " n"], limit: int | None, seed: int, part: str) -> Int64[np.ndarray, " m"]:
    """At most `limit` of the indices, drawn at random and sorted; a smaller draw is part of every larger one."""
    if limit is None or limit >= len(index):
        return index
    return np.sort(index[rng.permutation(len(index), seed, Purpose.LIMIT, part)[:limit]])
