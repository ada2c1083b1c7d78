"""The variants of a comparison: every way a student is trained, as data.

All variants share the number of optimiser steps, so that a difference is due to what the student learns from. A
variant says what that is, what it cost, and whether a black box offers it.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8

from db3.errors import DataError
from db3.rng import Purpose, uniform
from db3.soft_labels.softmax import softmax
from db3.training.examples import Examples, Group
from db3.training.train import TrainSettings

Images = UInt8[np.ndarray, "n c h w"]
Decisions = Int64[np.ndarray, " n"]
SoftLabels = Float32[np.ndarray, "n k"]

TITLES = {
    "hard": "decisions only",
    "smoothing": "uniform label smoothing",
    "noise": "random-noise logits",
    "inverse": "paper's inverse mapping",
    "margin": "margin labels alone",
    "augmented": "augmented decisions",
    "kd": "logit KD (needs the teacher's scores)",
}


@dataclass(frozen=True)
class Variant:
    """One way to train a student.

    Attributes:
        name: short, as in files and metrics: `student`, `hard`, `student@100` …
        title: for people, as in the report.
        examples: what the student learns from.
        ce, kl, temperature: of `student_loss`.
        queries_per_sample: images sent to the teacher per original sample, the sample itself included.
        black_box: whether a teacher that tells only decisions suffices.
        groups: further examples, with their share of every batch.
    """

    name: str
    title: str
    examples: Examples
    ce: float
    kl: float
    temperature: float
    queries_per_sample: float
    black_box: bool = True
    groups: tuple[Group, ...] = ()

    def settings(self, common: TrainSettings) -> TrainSettings:
        """The settings all variants share, with this variant's own loss."""
        return replace(common, ce=self.ce, kl=self.kl, temperature=self.temperature)


def hard(images: Images, decisions: Decisions) -> Variant:
    """Cross-entropy with the decisions: one query per sample, no boundary searched."""
    return Variant("hard", TITLES["hard"], Examples(images, decisions), 1.0, 0.0, 1.0, 1.0)


def smoothing(images: Images, decisions: Decisions, classes: int, share: float) -> Variant:
    """Decisions mixed with the uniform distribution: p = (1 − ε) · onehot(m) + ε / K, with ε = `share`."""
    soft_labels = np.full((len(decisions), classes), share / classes)
    soft_labels[np.arange(len(decisions)), decisions] += 1 - share
    examples = Examples(images, decisions, soft_labels.astype(np.float32))
    return Variant("smoothing", TITLES["smoothing"], examples, 0.0, 1.0, 1.0, 1.0)


def noise(
    images: Images, decisions: Decisions, classes: int, scale: float, seed: int, *, ce: float, kl: float
) -> Variant:
    """Soft labels from random logits, see `noise_labels`: what a soft label is worth that knows nothing but m."""
    examples = Examples(images, decisions, noise_labels(decisions, classes, scale, seed))
    return Variant("noise", TITLES["noise"], examples, ce, kl, 1.0, 1.0)


def soft(
    name: str,
    title: str,
    examples: Examples,
    queries_per_sample: float,
    *,
    ce: float,
    kl: float,
    temperature: float = 1.0,
    groups: tuple[Group, ...] = (),
) -> Variant:
    """Soft labels from boundary distances, whatever the mapping: the student itself, `inverse`, `student@Q`."""
    return Variant(name, title, examples, ce, kl, temperature, queries_per_sample, groups=groups)


def boundary_points(
    points: UInt8[np.ndarray, "p c h w"],
    pairs: Int64[np.ndarray, "p 2"],
    labels: Float32[np.ndarray, "p k"],
    share: float,
    weight: float = 1.0,
    temperature: float = 1.0,
) -> Group:
    """Boundary points as a group: soft labels alone, since a point on the boundary has no decision to speak of.

    Args:
        points: the nearest image known of each pair.
        pairs: (sample, class k) of each.
        labels: see `db3.soft_labels.boundary_points.boundary_point_labels`.
        share: of each batch.
        weight: of their divergence from the labels.
        temperature: the student's in that divergence; that of the samples' own labels where both are of one β.
    """
    examples = Examples(points, pairs[:, 1].copy(), labels)
    return Group("boundary_points", examples, share, 0.0, weight, temperature, pairs[:, 0].copy())


def queried_images(
    images: UInt8[np.ndarray, "a c h w"],
    decisions: Int64[np.ndarray, " a"],
    parents: Int64[np.ndarray, " a"],
    share: float,
    weight: float = 1.0,
) -> Group:
    """Every image that a search asked, with the decision it was told, as a group."""
    return Group("queried_images", Examples(images, decisions), share, weight, parents=parents)


def augmented(images: Images, decisions: Decisions, originals: int) -> Variant:
    """Decisions alone, on the original samples and on variations of them.

    Args:
        images: the originals first, then the variations.
        decisions: the teacher's, on each of them.
        originals: how many of them are original samples.
    """
    if not 1 <= originals <= len(images):
        raise DataError(f"{originals} originals among {len(images)} images; expected 1 or more: pass both parts")
    cost = len(images) / originals
    return Variant("augmented", TITLES["augmented"], Examples(images, decisions), 1.0, 0.0, 1.0, cost)


def kd(
    images: Images,
    decisions: Decisions,
    logits: Float[np.ndarray, "n k"],
    temperature: float,
    *,
    ce: float = 0.0,
    kl: float = 1.0,
) -> Variant:
    """Hinton's distillation from the teacher's logits, p = softmax(logits / T): *not available from a black box*."""
    examples = Examples(images, decisions, softmax(logits.astype(np.float64) / temperature))
    return Variant("kd", TITLES["kd"], examples, ce, kl, temperature, 1.0, black_box=False)


def noise_labels(decisions: Decisions, classes: int, scale: float, seed: int) -> SoftLabels:
    """Softmax of Gaussian logits, keyed by (seed, sample), the largest moved to the decision's place.

    The paper's control for "does any soft label help?": the logit at the decision and the largest one change places,
    so the label agrees with the decision and its other entries are noise.
    """
    sample = torch.arange(len(decisions))
    zero = torch.zeros_like(sample)
    drawn = uniform(seed, Purpose.NOISE_LABEL, zero, zero, sample, 2 * classes).double().numpy().reshape(-1, 2, classes)
    # Box and Muller's transform; 1 − u lies in (0, 1], so its logarithm is finite.
    logits = scale * np.sqrt(-2 * np.log(1 - drawn[:, 0])) * np.cos(2 * np.pi * drawn[:, 1])
    row, largest = np.arange(len(decisions)), logits.argmax(axis=1)
    logits[row, largest], logits[row, decisions] = logits[row, decisions], logits[row, largest]
    return softmax(logits)
