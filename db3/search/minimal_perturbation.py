"""The smallest targeted perturbation of a network whose gradients are known: on a surrogate, or the white-box minimum.

Fast minimum-norm attack (FMN: Pintor et al., NeurIPS 2021; the adaptive norm comes from DDN: Rony et al., CVPR 2019),
L2: minimise ‖δ‖ such that margin(x + δ) ≥ level, where margin = score_k − max over the other classes. Each step climbs
the margin's gradient and projects onto a ball whose radius shrinks while the constraint holds and grows, by the
margin's linear model, while it does not.

Notes:
    Targeted, level other than 0 and a start point are additions: with the level that a surrogate's margin has at a
    boundary point of the *teacher*, the surrogate's boundary is moved to pass through that point.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from db3.arithmetic.optimisers import half_cosine
from db3.arithmetic.sums import row_norm

Margin = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(images [n, D], classes k [n]) → margin [n] and its gradient [n, D]."""

_TINY = 1e-9


@dataclass(frozen=True)
class Steps:
    """How a minimum is sought: `count` steps, from the first to the last step size and change of the radius."""

    count: int = 30
    size: tuple[float, float] = (0.5, 0.02)
    shrink: tuple[float, float] = (0.1, 0.005)


def movable(
    points: Float[Tensor, "n d"], gradient: Float[Tensor, "n d"], bounds: tuple[float, float]
) -> Bool[Tensor, "n d"]:
    """Where a step up the gradient stays within the bounds: a pixel at its bound cannot move outward, so that part of
    a normal is of no use.
    """
    low, high = bounds
    return ((points > low) | (gradient > 0)) & ((points < high) | (gradient < 0))


def minimal_perturbation(
    margin: Margin,
    images: Float[Tensor, "n d"],
    targets: Int[Tensor, " n"],
    steps: Steps,
    bounds: tuple[float, float] = (0.0, 1.0),
    start: Float[Tensor, "n d"] | None = None,
    level: Float[Tensor, " n"] | None = None,
) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"]]:
    """Nearest image found with margin ≥ level, and its L2 distance (+inf, and the image itself, where none was).

    Args:
        margin: the network.
        images: x.
        targets: k.
        steps: how.
        bounds: smallest and largest pixel value.
        start: where to begin; None: at x.
        level: the margin to reach; None: 0.
    """
    level = images.new_zeros(len(images)) if level is None else level
    delta = torch.zeros_like(images) if start is None else start - images
    best, nearest = images.clone(), torch.full_like(level, torch.inf)
    radius = nearest if start is None else row_norm(delta)
    for cosine in half_cosine(steps.count):
        size = steps.size[1] + (steps.size[0] - steps.size[1]) * cosine
        shrink = steps.shrink[1] + (steps.shrink[0] - steps.shrink[1]) * cosine
        value, gradient = margin(images + delta, targets)
        value, slope, norm = value - level, row_norm(gradient).clamp(min=_TINY), row_norm(delta)
        better = (value >= 0) & (norm < nearest)
        nearest = torch.where(better, norm, nearest)
        best = torch.where(better[:, None], images + delta, best)
        # Before anything is found the linear model says how far; it is not trusted for more than 1 a step.
        outward = torch.minimum(norm - value / slope, norm + 1)
        grown = torch.where(torch.isfinite(nearest), torch.minimum(radius * (1 + shrink), nearest), outward)
        radius = torch.where(value >= 0, torch.minimum(radius, nearest) * (1 - shrink), grown)
        delta = delta + gradient * (size / slope)[:, None]
        delta = delta * (radius / row_norm(delta).clamp(min=_TINY))[:, None]
        delta = (images + delta).clamp(*bounds) - images
    return best, nearest
