"""The samples as searches see them, and decisions whatever they came in."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Int64, UInt8
from torch import Tensor

from db3.digest import digest_arrays
from db3.errors import DataError
from db3.pixels import stored_array


@dataclass(frozen=True, init=False)
class TransferImages:
    """All samples of the transfer set with the teacher's decisions: the pool of start samples (may be mapped).

    Attributes:
        images: uint8 pixels 0 … 255, [n, C, H, W]; of a tensor its array is kept.
        decisions: int64 [n]; given as a list, an array or a tensor of any whole numbers.

    Raises:
        DataError: images of another type or shape, or decisions that are not one class for each of them.
    """

    images: UInt8[np.ndarray, "n c h w"]
    decisions: Int64[np.ndarray, " n"]

    def __init__(self, images: Any, decisions: Any) -> None:
        images, decisions = stored_array(images), read_decisions(decisions)
        if images.ndim != 4 or decisions.shape != (len(images),):
            raise DataError(
                f"images of shape {list(images.shape)} and decisions of shape {list(decisions.shape)}; expected "
                "[n, C, H, W] and [n]: one decision for each image"
            )
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "decisions", decisions)

    @cached_property
    def digest(self) -> str:
        """Of both arrays: the name by which the samples are known."""
        return digest_arrays({"images": self.images, "decisions": self.decisions})


def read_decisions(decisions: Any) -> npt.NDArray[np.int64]:
    """Decisions as int64, from a list, an array or a tensor of any whole numbers.

    Raises:
        DataError: they are something else.
    """
    told = whole_numbers(decisions)
    if told is None:
        raise DataError(
            f"the decisions are {kind_of(decisions)}; expected whole numbers, one for each image: of scores take the "
            "argmax"
        )
    return told


def whole_numbers(values: Any) -> npt.NDArray[np.int64] | None:
    """Whole numbers of any type as int64, from a list, an array or a tensor; None where they are something else."""
    try:
        array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    except (ValueError, TypeError, RuntimeError):  # of several lengths, or with no way to an array
        return None
    if array.dtype.kind not in "iu" and (array.size or array.ndim != 1):
        return None
    return array.astype(np.int64, copy=False)


def kind_of(values: Any) -> str:
    """What values are, as a message says it: a type of array, or of what a list holds."""
    if hasattr(values, "dtype"):
        return str(values.dtype)
    kinds = sorted({type(value).__name__ for value in values}) if isinstance(values, list | tuple) else []
    return f"{type(values).__name__} of {', '.join(kinds)}" if kinds else type(values).__name__
