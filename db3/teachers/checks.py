"""What is refused before it is sent, and what is refused before it is believed."""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.errors import DataError, TeacherError
from db3.pixels import to_floats
from db3.teachers.base import TeacherSpec
from db3.types import kind_of, whole_numbers


def read_images(images: Any, spec: TeacherSpec) -> Float[Tensor, "n c h w"]:
    """Images as a teacher takes them, from a tensor or an array; uint8 ones are stored pixels, 0 … 255.

    Raises:
        DataError: they are something else, of another shape, with NaN, or outside the bounds.
    """
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(np.array(images)) if images.dtype.kind in "uf" else images
    if not isinstance(images, Tensor) or not (images.is_floating_point() or images.dtype == torch.uint8):
        raise DataError(
            f"images are {kind_of(images)}; expected an array or a tensor [n, C, H, W] of float32 pixels, or of uint8"
        )
    floats: Float[Tensor, "n c h w"] = to_floats(images, spec.bounds) if images.dtype == torch.uint8 else images.float()
    check_images(floats, spec)
    return floats


def check_images(images: Tensor, spec: TeacherSpec) -> None:
    """Refuse images of another shape, with NaN, or outside the bounds, before they are sent."""
    if tuple(images.shape[1:]) != spec.input_shape:
        raise DataError(
            f"images of shape {list(images.shape[1:])} for a teacher of shape {list(spec.input_shape)} (C, H, W): "
            "resize them or set the dataset's size and channels"
        )
    if not len(images):
        return
    low, high = torch.stack(torch.aminmax(images)).tolist()
    if not math.isfinite(low) or not math.isfinite(high):
        raise DataError("an image holds NaN or infinity; expected finite pixels: look for a division by zero upstream")
    minimum, maximum = torch.tensor(spec.bounds, dtype=images.dtype).tolist()  # as a pixel at a bound is rounded
    if low < minimum or high > maximum:
        raise DataError(
            f"pixels span [{low:g}, {high:g}], outside the teacher's bounds "
            f"[{spec.bounds[0]:g}, {spec.bounds[1]:g}]: scale the images or correct the bounds"
        )


def checked_decisions(answers: Any, count: int, spec: TeacherSpec) -> Int[Tensor, " n"]:
    """Decisions as int64, from a tensor, an array or a list of whole numbers; all else is refused.

    Raises:
        TeacherError: a wrong number of answers, scores in place of classes, or a class outside 0 … K−1.
    """
    told: Tensor = answers
    if not isinstance(answers, Tensor) or answers.dtype != torch.int64:
        numbers = whole_numbers(answers)
        if numbers is None:
            raise TeacherError(
                f"the teacher answered in {kind_of(answers)}; expected int64 classes: take the argmax inside the "
                "adapter"
            )
        told = torch.from_numpy(numbers)
    if told.shape != (count,):
        raise TeacherError(
            f"the teacher gave answers of shape {list(told.shape)} to {count} images; "
            "expected one class per image: check the adapter's output"
        )
    lowest, highest = torch.stack(torch.aminmax(told)).tolist() if count else (0, 0)
    if lowest < 0 or highest >= spec.classes:
        wrong = told[(told < 0) | (told >= spec.classes)][0]
        raise TeacherError(
            f"the teacher answered class {int(wrong)}; expected 0 … {spec.classes - 1}: correct the number of classes "
            "or the mapping of its answers"
        )
    return told.to(answers.device) if isinstance(answers, Tensor) else told
