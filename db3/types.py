"""The samples as searches see them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8


@dataclass(frozen=True)
class TransferImages:
    """All samples of the transfer set with the teacher's decisions: the pool of start samples (may be mapped)."""

    images: UInt8[np.ndarray, "n c h w"]
    decisions: Int64[np.ndarray, " n"]
