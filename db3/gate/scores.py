"""A student as a gate sees it: images in, one probability a class out."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor, nn

from db3.arithmetic import softmax
from db3.errors import DataError
from db3.pixels import to_floats

_CHUNK = 256  # images a call of a network


@runtime_checkable
class Scoring(Protocol):
    """Whatever tells how likely it finds each class."""

    def scores(self, images: UInt8[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n k"]:
        """Probabilities, each row summing to 1."""
        ...


def student_probabilities(
    student: Scoring | nn.Module, images: UInt8[np.ndarray, "n c h w"]
) -> Float[np.ndarray, "n k"]:
    """The student's probabilities of every image, as its gate reads them.

    Args:
        student: what scores, or a network that maps float32 [n, C, H, W] in [0, 1] to logits [n, K] (put in evaluation
            mode for the calls); its softmax is taken in float64, so that sure answers do not all become 1. Of an
            exact twin (`db3.arithmetic.to_exact`) the same bits come on every machine.
        images: as they are stored.

    Raises:
        DataError: the student did not give one row of probabilities an image.
    """
    if not isinstance(student, nn.Module):
        return _checked(student.scores(images), len(images))
    parts = [_softmax(student, images[start : start + _CHUNK]) for start in range(0, len(images), _CHUNK)]
    return _checked(np.concatenate(parts) if parts else np.zeros((0, 1)), len(images))


def sureness(probabilities: Float[np.ndarray, "n k"]) -> tuple[Float64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Score and decision of each image: the largest probability, and the class that has it (the lowest on a tie)."""
    return probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1).astype(np.int64)


def _softmax(network: nn.Module, images: UInt8[np.ndarray, "n c h w"]) -> Float64[np.ndarray, "n k"]:
    training, first = network.training, next(network.parameters(), None)
    batch = to_floats(images)
    try:
        with torch.inference_mode():
            logits: Tensor = network.eval()(batch if first is None else batch.to(first.device))
            shares: Float64[np.ndarray, "n k"] = softmax(logits.cpu().double()).numpy()
            return shares
    finally:
        network.train(training)


def _checked(rows: Float[np.ndarray, "..."], count: int) -> Float[np.ndarray, "n k"]:
    if rows.ndim != 2 or len(rows) != count:
        raise DataError(
            f"the student gave scores of shape {list(rows.shape)} to {count} images; expected one row of probabilities "
            "an image"
        )
    sums = rows.sum(axis=1, dtype=np.float64)
    wrong = rows[~((rows >= 0).all(axis=1) & (np.abs(sums - 1) < 1e-3))]  # NaN too
    if len(wrong):
        raise DataError(
            f"a row of the student's scores sums to {wrong[0].sum():g}, from {wrong[0].min():g} on; expected "
            "probabilities: take the softmax of its logits"
        )
    return rows
