"""Mixup: a batch's images are averaged in pairs, their targets likewise, with weights drawn by (seed, step).

Zhang et al., "mixup: Beyond Empirical Risk Minimization" (ICLR 2018, equation 1), with λ drawn evenly (α = 1), one for
a batch as in their code. Boxes of the partner in place of means (CutMix) teach deep networks less here
(docs/benchmarks/zero-shot.md).
"""

import functools
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from db3.rng import Purpose, uniform

T = TypeVar("T")


def draw_share(often: float, seed: int, step: int) -> float:
    """The partners' share of batch `step`, 1 − λ; 0: it is not mixed.

    Args:
        often: share of the batches that are mixed.
        seed: of the draws.
        step: from 0.
    """
    if not often:
        return 0.0
    number, zero = torch.tensor([step]), torch.zeros(1, dtype=torch.int64)
    whether, share = uniform(seed, Purpose.MIXTURE, number, zero, zero, 2)[0].tolist()
    return float(share) if whether < often else 0.0


def mixup(
    images: Float[Tensor, "n c h w"], partners: Float[Tensor, "n c h w"], share: float
) -> Float[Tensor, "n c h w"]:
    """The weighted means of images and partners; both are left as they are."""
    # Two products and a sum, each rounded by itself: a fused one would differ between machines.
    return images.mul(1 - share).add_(partners.mul(share))


def mixed_loss(aims: Sequence[tuple[float, T]], loss: Callable[[T], Float[Tensor, ""]]) -> Float[Tensor, ""]:
    """λ · loss(own targets) + (1 − λ) · loss(the partners'), of a batch that is not mixed the loss itself.

    Args:
        aims: what the batch shall teach, with weights that sum to 1.
        loss: of the batch, by what it shall teach.
    """
    return functools.reduce(torch.add, (weight * loss(targets) for weight, targets in aims))
