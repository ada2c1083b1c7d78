"""Baselines: the variants that a student is compared with, trained on anything but boundary distances."""

import math

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8

from db3.arithmetic import cos, log, sqrt
from db3.errors import DataError
from db3.rng import Purpose, uniform
from db3.soft_labels.softmax import softmax
from db3.students.variants import Variant
from db3.training.examples import Examples, smoothed

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

CONTROLS = ("noise",)  # there to be beaten, not to be used


def hard(images: Images, decisions: Decisions) -> Variant:
    """Cross-entropy with the decisions: one query per sample, no boundary searched."""
    return Variant("hard", TITLES["hard"], Examples(images, decisions), 1.0, 0.0, 1.0, 1.0)


def smoothing(images: Images, decisions: Decisions, classes: int, share: float) -> Variant:
    """Decisions mixed with the uniform distribution, see `smoothed`."""
    examples = Examples(images, decisions, smoothed(decisions, classes, share))
    return Variant("smoothing", TITLES["smoothing"], examples, 0.0, 1.0, 1.0, 1.0)


def noise(
    images: Images, decisions: Decisions, classes: int, scale: float, seed: int, *, ce: float, kl: float
) -> Variant:
    """Soft labels from random logits, see `noise_labels`: what a soft label is worth that knows nothing but m."""
    examples = Examples(images, decisions, noise_labels(decisions, classes, scale, seed))
    return Variant("noise", TITLES["noise"], examples, ce, kl, 1.0, 1.0)


def augmented(
    images: Images, decisions: Decisions, originals: int, parents: Int64[np.ndarray, "m 2"] | None = None
) -> Variant:
    """Decisions alone, on the original samples and on variations of them.

    Args:
        images: the originals first, then the variations.
        decisions: the teacher's, on each of them.
        originals: how many of them are original samples.
        parents: the samples that each variation descends from, see `augmented_parents`; None: not told.
    """
    if not 1 <= originals <= len(images):
        raise DataError(f"{originals} originals among {len(images)} images; expected 1 or more: pass both parts")
    cost = len(images) / originals
    lineage = None if parents is None else np.concatenate([np.arange(originals).repeat(2).reshape(-1, 2), parents])
    return Variant("augmented", TITLES["augmented"], Examples(images, decisions), 1.0, 0.0, 1.0, cost, parents=lineage)


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
    drawn = uniform(seed, Purpose.NOISE_LABEL, zero, zero, sample, 2 * classes).double().view(-1, 2, classes)
    # Box and Muller's transform; 1 − u lies in (0, 1], so its logarithm is finite.
    radius, angle = sqrt(log(1 - drawn[:, 0]) * -2), drawn[:, 1] * (2 * math.pi)
    logits = (radius * cos(angle) * scale).numpy()
    row, largest = np.arange(len(decisions)), logits.argmax(axis=1)
    logits[row, largest], logits[row, decisions] = logits[row, decisions], logits[row, largest]
    return softmax(logits)
