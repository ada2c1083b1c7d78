"""What is refused before it is sent, and what is refused before it is believed."""

import math

import torch
from torch import Tensor

from db3.errors import DataError, TeacherError
from db3.teachers.base import TeacherSpec


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


def check_decisions(answers: Tensor, count: int, spec: TeacherSpec) -> None:
    """Refuse a wrong number of answers, scores in place of classes, or a class outside 0 … K−1."""
    if answers.shape != (count,):
        raise TeacherError(
            f"the teacher gave answers of shape {list(answers.shape)} to {count} images; "
            "expected one class per image: check the adapter's output"
        )
    if answers.dtype != torch.int64:
        raise TeacherError(
            f"the teacher answered in {answers.dtype}; expected int64 classes: take the argmax inside the adapter"
        )
    lowest, highest = torch.stack(torch.aminmax(answers)).tolist() if count else (0, 0)
    if lowest < 0 or highest >= spec.classes:
        wrong = answers[(answers < 0) | (answers >= spec.classes)][0]
        raise TeacherError(
            f"the teacher answered class {int(wrong)}; expected 0 … {spec.classes - 1}: correct the number of classes "
            "or the mapping of its answers"
        )
