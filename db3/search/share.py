"""How far boundaries lie from the samples, beside how far the samples lie from each other."""

import numpy as np
from jaxtyping import Float

_DECIMALS = 6


def boundary_share(distances: Float[np.ndarray, "n k"], starts: Float[np.ndarray, "n k q"]) -> float | None:
    """Where boundaries lie, as a share of the way to the nearest sample of the other class: the median of the pairs.

    Args:
        distances: d_k, 0 at the decision, +inf where class k was not reached.
        starts: distance of each pair's start samples, nearest first, +inf where there is none; see `nearest_starts`;
            q = 0 where nothing was searched.

    Returns:
        0 … about 1; None where no boundary was found.
    """
    if not starts.shape[2]:
        return None
    nearest = starts[:, :, 0]
    found = np.isfinite(distances) & np.isfinite(nearest) & (distances > 0) & (nearest > 0)
    if not found.any():
        return None
    return round(float(np.median(distances[found].astype(np.float64) / nearest[found])), _DECIMALS)
