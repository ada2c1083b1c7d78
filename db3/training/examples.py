"""What a network learns from: images with decisions and, where there are any, soft labels."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor, nn

from db3.errors import DataError
from db3.networks import build, whiten
from db3.pixels import stored_array
from db3.types import read_decisions

Parents = Int64[np.ndarray, " _"] | Int64[np.ndarray, "_ _"]


@dataclass(frozen=True, init=False)
class Examples:
    """Training examples; the images may be memory-mapped and are never converted as a whole.

    Attributes:
        images: uint8 [N, C, H, W].
        decisions: int64 [N], the teacher's decision on each image (a teacher's own training: the true label); given as
            a list, an array or a tensor of any whole numbers.
        soft_labels: float32 [N, K], rows that sum to 1, or None.

    Raises:
        DataError: pixels or decisions of another type, no example, lengths that differ, a negative decision, or soft
            labels that are no distributions.
    """

    images: UInt8[np.ndarray, "n c h w"]
    decisions: Int64[np.ndarray, " _"]
    soft_labels: Float32[np.ndarray, "_ k"] | None = None

    def __init__(self, images: Any, decisions: Any, soft_labels: Float32[np.ndarray, "_ k"] | None = None) -> None:
        for name, value in (
            ("images", stored_array(images)),
            ("decisions", read_decisions(decisions)),
            ("soft_labels", soft_labels),
        ):
            object.__setattr__(self, name, value)
        counts = {"images": len(self.images), "decisions": len(self.decisions)}
        if self.soft_labels is not None:
            counts["soft labels"] = len(self.soft_labels)
        if len(set(counts.values())) > 1 or not len(self.images):
            held = ", ".join(f"{count} {name}" for name, count in counts.items())
            raise DataError(f"training examples hold {held}; expected one of each per example, and one at least")
        if self.decisions.min() < 0:
            raise DataError(f"a decision is {self.decisions.min()}; expected a class from 0 on: check the labels")
        if self.soft_labels is not None:
            _check_distributions(self.soft_labels)

    def __len__(self) -> int:
        return len(self.images)

    def targets(self) -> npt.NDArray[np.integer[Any]]:
        """The class a student should answer for each example: the likeliest of its soft label, else the decision."""
        if self.soft_labels is None:
            return self.decisions
        likeliest: npt.NDArray[np.integer[Any]] = self.soft_labels.argmax(axis=1)
        return likeliest


@dataclass(frozen=True)
class Group:
    """Examples that take a share of every batch beside the originals: boundary points, images that a search asked.

    A share, and not their number, says how much they count: a search leaves a hundred images for each original.

    Attributes:
        name: keys the order in which they are drawn.
        examples: the images with their decisions and, for a KL, soft labels.
        share: of each batch, above 0 and below 1; one image of a batch at least.
        ce, kl, temperature: of `student_loss` for these examples.
        parents: int64 [t] or [t, p], the originals that each descends from (−1 in places too many): where one of them
            is held out, its descendants are not learnt either. None: they descend from none.

    Raises:
        DataError: a share that is none, or parents of another number than the examples.
    """

    name: str
    examples: Examples
    share: float
    ce: float = 1.0
    kl: float = 0.0
    temperature: float = 1.0
    parents: Parents | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise DataError(f"group {self.name} has share {self.share:g} of a batch; expected more than 0, less than 1")
        if self.parents is not None and len(self.parents) != len(self.examples):
            raise DataError(
                f"group {self.name} holds {len(self.examples)} examples and {len(self.parents)} parents; expected one "
                "for each"
            )

    def without(self, originals: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Places of the examples that descend from none of the given originals."""
        if self.parents is None:
            return np.arange(len(self.examples))
        return descend_from_none(self.parents, originals)


def descend_from_none(parents: Parents, originals: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Places of the rows of `parents` that name none of the given originals."""
    named: npt.NDArray[np.bool_] = np.isin(parents.reshape(len(parents), -1), originals)
    return np.flatnonzero(~named.any(axis=1))


def pixels(images: UInt8[np.ndarray, "n c h w"], device: str | torch.device = "cpu") -> Float[Tensor, "n c h w"]:
    """What a network sees of stored images: uint8 / 255 in float32 (sent to the device as bytes)."""
    batch = torch.from_numpy(np.array(images)).to(device)
    # Channels last in memory: convolutions take two thirds of the time on a CPU.
    # Divided by a tensor: with a number's reciprocal CUDA would multiply.
    return batch.to(torch.float32, memory_format=torch.channels_last).div_(torch.full((), 255.0, device=device))


def network_for(architecture: str, images: UInt8[np.ndarray, "n c h w"], classes: int, seed: int) -> nn.Module:
    """A network with first weights that is about to learn these images: they decide how it normalises its pixels.

    Args:
        architecture: a name that `db3.networks.build` knows.
        images: the training images.
        classes: K.
        seed: of the weights.

    Raises:
        ConfigError: an unknown architecture, or one that does not fit the images.
    """
    mean, std = channel_statistics(images)
    channels, height, width = images.shape[1:]
    network = build(architecture, (channels, height, width), classes, mean=mean, std=std, seed=seed)
    whiten(network, images)
    return network


def smoothed(decisions: npt.NDArray[np.integer[Any]], classes: int, share: float) -> Float32[np.ndarray, "n k"]:
    """Decisions mixed with the uniform distribution: p = (1 − ε) · onehot(m) + ε / K, with ε = `share`."""
    soft_labels = np.full((len(decisions), classes), share / classes)
    soft_labels[np.arange(len(decisions)), decisions] += 1 - share
    return soft_labels.astype(np.float32)


def channel_statistics(images: UInt8[np.ndarray, "n c h w"]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of `images / 255`, from exact integer counts.

    A channel of one single value has no spread; its deviation is given as 1, so that dividing by it is harmless.
    """
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = np.zeros(256, dtype=np.int64)
        for start in range(0, len(images), 1024):
            counts += np.bincount(images[start : start + 1024, channel].ravel(), minlength=256)
        pairs = list(enumerate(counts.tolist()))
        number, total, squares = (sum(count * value**power for value, count in pairs) for power in range(3))
        # Quotients of Python's integers are correctly rounded; a library's sums are not the same everywhere.
        means.append(total / (255 * number))
        variance = (number * squares - total * total) / (255 * 255 * number * number)
        deviations.append(math.sqrt(variance) if np.count_nonzero(counts) > 1 else 1.0)
    return means, deviations


def _check_distributions(soft_labels: npt.NDArray[np.float32]) -> None:
    sums = soft_labels.sum(axis=1, dtype=np.float64)
    wrong = np.flatnonzero(~((soft_labels >= 0).all(axis=1) & (np.abs(sums - 1) <= 1e-4)))  # NaN compares false
    if len(wrong):
        row = wrong[0]
        raise DataError(
            f"soft label {row} sums to {sums[row]:g} with smallest value {soft_labels[row].min():g} "
            f"({len(wrong)} such rows); expected a distribution: build the soft labels again"
        )
