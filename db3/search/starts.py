"""Start samples: for every sample and other class, the nearest samples decided as that class."""

import numpy as np
import torch
from jaxtyping import Float, Int, Int64, UInt8
from torch import Tensor

from db3.arithmetic.functions import sqrt
from db3.arithmetic.guard import integer_sums
from db3.errors import DataError, listed

_ROWS = 256  # samples compared at once
_PIECE_VALUES = 1 << 22  # pixels of the pool in memory at once: 16 MiB as float32
_EXACT_PIXELS = 1024  # products of centred pixels are at most 2**14, and 2**10 of them at most 2**24
_TAKEN = torch.iinfo(torch.int64).max


def nearest_starts(
    images: UInt8[np.ndarray, "r *image"],
    pool: UInt8[np.ndarray, "n *image"],
    pool_decisions: Int64[np.ndarray, " n"],
    classes: int,
    count: int,
) -> tuple[Int64[np.ndarray, "r k q"], Float[np.ndarray, "r k q"]]:
    """The `count` nearest pool samples of every class, by L2 distance.

    Pixels are integers, and what is summed in float32 stays an integer of 24 bits: exact, whatever the order in which
    a matrix product adds. The choice is the same on every machine; of equals the earlier sample is nearer. Memory is
    bounded, whatever the number of images: some 50 MiB.

    Args:
        images: the samples to start from.
        pool: all samples of the transfer set; memory-mapped, read in pieces.
        pool_decisions: the teacher's decision on each (start samples are those *decided* k, not labelled k).
        classes: K.
        count: Q.

    Returns:
        Pool indices, −1 where a class has fewer than Q samples, and distances in pixels of [0, 1], +inf there.
    """
    index = np.full((len(images), classes, count), -1, np.int64)
    distances = np.full(index.shape, np.inf, np.float32)
    members = [np.flatnonzero(pool_decisions == k) for k in range(classes)]
    for begin in range(0, len(images), _ROWS):
        rows = slice(begin, begin + _ROWS)
        part = _centred(images[rows])
        for k, own in enumerate(members):
            found, squared = _nearest(part, pool, own, min(count, len(own)))
            index[rows, k, : found.shape[1]] = found.numpy()
            distances[rows, k, : found.shape[1]] = (sqrt(squared.double()) / 255).float().numpy()
    return index, distances


def _nearest(
    rows: Float[Tensor, "b d"], pool: UInt8[np.ndarray, "n *image"], own: Int64[np.ndarray, " m"], count: int
) -> tuple[Int[Tensor, "b q"], Int[Tensor, "b q"]]:
    """Indices and squared distances of the `count` ≤ m nearest of the pool samples `own`.

    A candidate is one integer, (‖y‖² − 2⟨x, y⟩)·n + index: its order is that of the distances, and of equals
    by index.
    """
    best = torch.empty(rows.shape[0], 0, dtype=torch.int64)
    size = max(1, _PIECE_VALUES // max(1, rows.shape[1]))
    for begin in range(0, len(own) if count else 0, size):
        places = own[begin : begin + size]
        part = _centred(pool[places])
        keys = (
            _products(rows, part)
            .mul_(-2 * len(pool))
            .add_(_squared_length(part) * len(pool) + torch.from_numpy(places))
        )
        best = _smallest(torch.cat([best, keys], dim=1), count)
    return best % len(pool), best.div(len(pool), rounding_mode="floor") + _squared_length(rows)[:, None]


def _smallest(keys: Int[Tensor, "b m"], count: int) -> Int[Tensor, "b _"]:
    """The `count` smallest of each row, rising; keys differ. For the few wanted, faster than sorting."""
    found = []
    for _ in range(min(count, keys.shape[1])):
        found.append(keys.amin(dim=1, keepdim=True))
        keys.masked_fill_(keys == found[-1], _TAKEN)
    return torch.cat(found, dim=1)


def _centred(images: UInt8[np.ndarray, "b *image"]) -> Float[Tensor, "b d"]:
    """Pixels less 128: distances are the same, products are a quarter."""
    return torch.from_numpy(np.array(images).reshape(len(images), -1)).float().sub_(128)


def _products(rows: Float[Tensor, "b d"], part: Float[Tensor, "m d"]) -> Int[Tensor, "b m"]:
    """⟨x, y⟩ of all pairs."""
    total = torch.zeros(rows.shape[0], part.shape[0], dtype=torch.int64)
    for x, y in zip(*(torch.split(one, _EXACT_PIXELS, dim=1) for one in (rows, part)), strict=True):
        with integer_sums():
            total += (x @ y.T).to(torch.int64)
    return total


def _squared_length(part: Float[Tensor, "m d"]) -> Int[Tensor, " m"]:
    with integer_sums():
        return (part * part).sum(dim=1, dtype=torch.float64).to(torch.int64)


def check_classes(
    decisions: Int64[np.ndarray, " n"], class_names: list[str], allow_missing: bool, *, more: str = "samples.count"
) -> None:
    """Refuse a transfer set in which the teacher never decides some class, unless that is allowed.

    Args:
        decisions: the teacher's.
        class_names: of all K classes.
        allow_missing: whether it is.
        more: the parameter that makes more samples, for the message.

    Raises:
        DataError: names the classes without a sample.
    """
    counts = np.bincount(decisions, minlength=len(class_names))
    missing = [class_names[k] for k in np.flatnonzero(counts == 0)]
    if missing and not allow_missing:
        raise DataError(
            f"the teacher decides none of the {len(decisions)} samples as: {listed(missing)}; expected samples of "
            f"every class: a search starts from them: raise {more}, add images, or set samples.missing_classes=allow"
        )
