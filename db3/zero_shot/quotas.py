"""Quotas: how many candidates of each predicted class are asked."""

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64, Int64

from db3.rng import Purpose, permutation

_FLOOR = 0.02  # of all decided images, added to each class's number: a class never met does not take everything


def quotas(counts: Int64[np.ndarray, " k"], available: Int64[np.ndarray, " k"], wanted: int) -> Int64[np.ndarray, " k"]:
    """Deal `wanted` images out to the classes, in proportion to 1 / (count + 0.02·N), as far as each has candidates.

    What a class cannot fill goes to the others in the same proportion.

    Args:
        counts: decided images of each class, N in all.
        available: candidates predicted as each class.
        wanted: images to be chosen; more than there are candidates: all of them.
    """
    weights = 1 / (counts + _FLOOR * counts.sum() + 1e-9)
    dealt = np.zeros(len(counts), np.int64)
    while (left := min(wanted, int(available.sum())) - int(dealt.sum())) > 0:
        room = available - dealt
        shares = np.where(room > 0, weights, 0.0)
        dealt += np.minimum(room, _apportion(shares, left))
    return dealt


def _apportion(shares: Float64[np.ndarray, " k"], total: int) -> Int64[np.ndarray, " k"]:
    """Whole numbers that sum to `total`, by largest remainder; the lower class on a tie."""
    exact = shares / shares.sum() * total
    whole: Int64[np.ndarray, " k"] = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - whole), kind="stable")
    order = order[shares[order] > 0]
    whole[order[: total - int(whole.sum())]] += 1
    return whole


def choose(
    predicted: Int64[np.ndarray, " m"],
    counts: Int64[np.ndarray, " k"],
    wanted: int,
    seed: int,
    *identity: int | str,
) -> npt.NDArray[np.int64]:
    """Places of the chosen candidates, rising: quotas filled at random within each predicted class.

    Random within the class was measured better than the surrogate's least certain ones: those are much alike.
    """
    available = np.bincount(predicted, minlength=len(counts)).astype(np.int64)
    quota = quotas(counts, available, wanted)
    order = np.array(permutation(len(predicted), seed, Purpose.CHOICE, *identity), dtype=np.int64)
    chosen = [order[predicted[order] == k][: quota[k]] for k in range(len(counts))]
    return np.sort(np.concatenate(chosen))
