"""Start samples: for every sample and other class, the nearest samples decided as that class."""

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8

from db3.errors import DataError

_POOL_VALUES = 1 << 24  # pixels of the pool in memory at once, as float64


def nearest_starts(
    images: UInt8[np.ndarray, "r *image"],
    pool: UInt8[np.ndarray, "n *image"],
    pool_decisions: Int64[np.ndarray, " n"],
    classes: int,
    count: int,
) -> tuple[Int64[np.ndarray, "r k q"], Float[np.ndarray, "r k q"]]:
    """The `count` nearest pool samples of every class, by L2 distance.

    Pixels are integers, so squared distances are integers below 2⁵³ and exact in float64, whatever the order in which
    a matrix product adds them: the choice is the same on every machine. Ties go to the earlier sample.

    Args:
        images: the samples to start from.
        pool: all samples of the transfer set; memory-mapped, read in pieces.
        pool_decisions: the teacher's decision on each (start samples are those *decided* k, not labelled k).
        classes: K.
        count: Q.

    Returns:
        Pool indices, −1 where a class has fewer than Q samples, and distances in pixels of [0, 1], +inf there.
    """
    values = int(np.prod(images.shape[1:]))
    rows = torch.from_numpy(images.reshape(len(images), values).astype(np.float64))
    lengths = (rows * rows).sum(1)
    best = torch.full((len(images), classes, count), torch.inf, dtype=torch.float64)
    index = torch.full((len(images), classes, count), -1, dtype=torch.int64)
    piece = max(1, _POOL_VALUES // max(1, values))
    for begin in range(0, len(pool), piece):
        part = torch.from_numpy(pool[begin : begin + piece].reshape(-1, values).astype(np.float64))
        squared = lengths[:, None] + (part * part).sum(1) - 2 * rows @ part.T
        decisions = torch.from_numpy(np.array(pool_decisions[begin : begin + piece]))
        for k in set(decisions.tolist()):
            members = (decisions == k).nonzero()[:, 0]
            joined = torch.cat([best[:, k], squared[:, members]], dim=1)
            places = torch.cat([index[:, k], (members + begin).expand(len(rows), -1)], dim=1)
            order = joined.argsort(dim=1, stable=True)[:, :count]
            best[:, k], index[:, k] = joined.gather(1, order), places.gather(1, order)
    index[torch.isinf(best)] = -1
    return index.numpy(), (best.sqrt() / 255).float().numpy()


def check_classes(decisions: Int64[np.ndarray, " n"], class_names: list[str], allow_missing: bool) -> None:
    """Refuse a transfer set in which the teacher never decides some class, unless that is allowed.

    Raises:
        DataError: names the classes without a sample.
    """
    counts = np.bincount(decisions, minlength=len(class_names))
    missing = [class_names[k] for k in np.flatnonzero(counts == 0)]
    if missing and not allow_missing:
        shown = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
        raise DataError(
            f"the teacher decides none of the {len(decisions)} samples as: {shown}; a search needs a start sample of "
            "every class: raise samples.count, add images, or set samples.missing_classes=allow"
        )
