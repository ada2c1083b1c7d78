"""Images out of any array: uint8 [n, C, H, W], or a refusal that says why not."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import UInt8

from db3.errors import DataError
from db3.pixels import to_bytes

Images = UInt8[np.ndarray, "n c h w"]
CHANNELS = (1, 3)
_SLACK = 1e-6  # what a resize in float32 leaves beyond [0, 1]
_ROWS = 1024


def images_of(values: npt.NDArray[Any], what: str) -> Images:
    """Many images; no copy of a uint8 array.

    Args:
        values: [n, H, W], [n, C, H, W] or [n, H, W, C] with C 1 or 3 (where both could be meant: [n, C, H, W]); whole
            numbers 0 … 255, or real ones in [0, 1], which become `round(255 x)`.
        what: for errors.

    Raises:
        DataError: another shape, other values, or no image.
    """
    shape = values.shape
    if len(shape) == 3 and (shape[2] not in CHANNELS or shape[0] in CHANNELS):
        values = values[:, None]
    elif len(shape) == 4 and shape[1] in CHANNELS:
        pass
    elif len(shape) == 4 and shape[3] in CHANNELS:
        values = values.transpose(0, 3, 1, 2)
    else:
        raise _shape_error(shape, what)
    if not values.size:
        raise DataError(f"{what} has shape {list(shape)}, so there is no image; expected one or more")
    return _levels(values, what)


def image_of(values: npt.NDArray[Any], what: str) -> UInt8[np.ndarray, "c h w"]:
    """One image: [H, W], [C, H, W] or [H, W, C] with C 1 or 3; see `images_of`."""
    if values.ndim not in (2, 3):
        raise DataError(f"{what} has shape {list(values.shape)}; expected [H, W], [C, H, W] or [H, W, C], C 1 or 3")
    image: UInt8[np.ndarray, "c h w"] = images_of(values[None], what)[0]
    return image


def _shape_error(shape: tuple[int, ...], what: str) -> DataError:
    remedy = "reshape it"
    if len(shape) == 2:
        remedy = f"reshape its rows of {shape[1]:,} values to [H, W], or put one grey image into a list"
    elif len(shape) == 3:
        remedy = "put one colour image into a list"
    elif len(shape) == 4 and 4 in (shape[1], shape[3]):
        remedy = "lay its transparent images on a ground first, and keep three channels"
    return DataError(
        f"{what} has shape {list(shape)}; expected images [n, H, W], [n, C, H, W] or [n, H, W, C], C 1 or 3: {remedy}"
    )


def _levels(values: npt.NDArray[Any], what: str) -> Images:
    """The values as uint8, in pieces, since an array may be mapped from a file."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "biuf":
        raise DataError(f"{what} holds {values.dtype}; expected uint8, or real numbers in [0, 1]")
    found = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS):
        found[start : start + _ROWS] = _part(values[start : start + _ROWS], what)
    return found


def _part(values: npt.NDArray[Any], what: str) -> Images:
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    low, high = values.min(), values.max()
    if values.dtype.kind in "iu":
        if low < 0 or high > 255:
            raise DataError(f"{what} holds whole numbers {low} … {high}; expected 0 … 255: scale them")
        return values.astype(np.uint8)
    if not (low >= -_SLACK and high <= 1 + _SLACK):  # NaN is neither
        hint = "divide by 255" if low >= 0 and 1 < high <= 255 else "undo its normalisation"
        raise DataError(f"{what} holds real numbers {low:.4g} … {high:.4g}; expected [0, 1], or uint8 0 … 255: {hint}")
    return to_bytes(torch.from_numpy(values.astype(np.float64))).numpy()
