"""The samples as searches see them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int64, UInt8

from db3.digest import digest_arrays


@dataclass(frozen=True)
class TransferImages:
    """All samples of the transfer set with the teacher's decisions: the pool of start samples (may be mapped)."""

    images: UInt8[np.ndarray, "n c h w"]
    decisions: Int64[np.ndarray, " n"]

    @cached_property
    def digest(self) -> str:
        """Of both arrays: the name by which the samples are known."""
        return digest_arrays({"images": self.images, "decisions": self.decisions})
