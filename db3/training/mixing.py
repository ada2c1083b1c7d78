"""Batches whose images are mixed in pairs, their targets likewise: mixup and CutMix, drawn by (seed, step).

Zhang et al., "mixup: Beyond Empirical Risk Minimization" (ICLR 2018, equation 1); Yun et al., "CutMix: Regularization
Strategy to Train Strong Classifiers with Localizable Features" (ICCV 2019, equations 1 and 2). λ is drawn evenly, as
both do with α = 1.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from db3.rng import Purpose, uniform


@dataclass(frozen=True)
class Mixture:
    """How all images of a batch are mixed with their partners.

    Attributes:
        share: of the partner, in the target too: 1 − λ.
        box: rows and columns that are the partner's (CutMix); None: every pixel is a weighted mean (mixup).
    """

    share: float
    box: tuple[slice, slice] | None = None

    def mix(self, images: Float[Tensor, "n c h w"], partners: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The images mixed with their partners; both are left as they are."""
        if self.box is None:
            # Two products and a sum, each rounded by itself: a fused one would differ between machines.
            return images.mul(1 - self.share).add_(partners.mul(self.share))
        mixed = images.clone()
        mixed[..., self.box[0], self.box[1]] = partners[..., self.box[0], self.box[1]]
        return mixed


def draw_mixture(often: float, height: int, width: int, seed: int, step: int) -> Mixture | None:
    """How batch `step` is mixed; None: not at all.

    Args:
        often: share of the batches that are mixed, half of them by mixup and half by CutMix.
        height: H of the images.
        width: W.
        seed: of the draws.
        step: from 0.
    """
    if not often:
        return None
    numbers, zero = torch.tensor([step]), torch.zeros(1, dtype=torch.int64)
    whether, kept, down, right = uniform(seed, Purpose.MIXTURE, numbers, zero, zero, 4)[0].tolist()
    if whether >= often:
        return None
    if whether < often / 2:
        return Mixture(1 - kept)
    side = math.sqrt(1 - kept)  # correctly rounded everywhere
    rows, columns = (round(side * whole) for whole in (height, width))
    top, left = int(down * (height - rows + 1)), int(right * (width - columns + 1))
    box = slice(top, top + rows), slice(left, left + columns)
    return Mixture(rows * columns / (height * width), box)
