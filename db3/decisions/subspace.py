"""Random directions from the subspace in which primers' gradients differ: where the teacher's normal is likely to lie.

The tangential part of a boundary's normal is what a search must estimate from one-bit answers, and its cost grows with
the number of dimensions searched. Differences between primers' gradients, over many samples and classes, span few
dimensions (measured on MNIST: 100 of 784 hold 90 % of the norm of the teacher's gradient; 2×2 cells 81 % in 196), and
their spectrum says how much to expect of each.

Exactness: the basis is rounded to integers and combined with ±1, so directions and their signed sums are integers below
2²⁴, exact in float32 in any order on every device.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.decisions.directions import random_signs
from db3.decisions.minimal import Steps, minimal_perturbation
from db3.decisions.primer import Answers, Primer
from db3.exact import row_norm
from db3.rng import generator, signs
from db3.teachers.base import ImageShape

Directions = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(step, class, sample), int64 of one shape [*n] → integer-valued directions, float32 [*n, D]."""

_LARGEST = 127
_EXACT = 2**24


def cells(shape: ImageShape, cell: int, seed: int) -> Directions:
    """±1 per cell of pixels, see `random_signs`."""
    return lambda step, klass, sample: random_signs(shape, cell, seed, step, klass, sample)


def combinations(basis: Float[Tensor, "p d"], seed: int) -> Directions:
    """Sums of the basis' rows, each with a random sign.

    Raises:
        ValueError: a basis that is not of integers small enough for exact sums.
    """
    if bool((basis != basis.round()).any()) or float(basis.abs().sum(dim=0).amax()) * 256 > _EXACT:
        raise ValueError("expected a basis of small integers; make it with `gradient_basis`")

    def draw(step: Int[Tensor, "*n"], klass: Int[Tensor, "*n"], sample: Int[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        return signs(seed, step, klass, sample, len(basis)) @ basis

    return draw


def gradient_basis(primer: Primer, known: Answers, count: int = 100, samples: int = 512) -> Float[Tensor, "p d"]:
    """Principal components of the differences between the primer's networks, scaled by their spread, as integers.

    Args:
        primer: two networks or more.
        known: answers of which `samples` are drawn, and moved to the primer's boundary with a random other class.
        count: p, components kept.
        samples: how many gradients each network gives.
    """
    low, high = primer.bounds
    draw = generator(primer.settings.seed, "basis")
    rows = torch.randint(len(known), (samples,), generator=draw)
    classes = int(known.decisions.max()) + 1
    targets = (known.decisions[rows] + torch.randint(1, max(2, classes), (samples,), generator=draw)) % classes
    images = known.images[rows].float() * ((high - low) / 255) + low
    points, _ = minimal_perturbation(primer.margin, images, targets, Steps(15), primer.bounds)
    gradients = []
    for member in range(len(primer.networks)):
        _, gradient = primer.margin(points, targets, member)
        # A pixel at its bound cannot move outward: that part of a gradient is of no use.
        free = ((points > low) | (gradient > 0)) & ((points < high) | (gradient < 0))
        gradient = torch.where(free, gradient, 0)
        gradients.append(gradient / row_norm(gradient).clamp(min=1e-9)[:, None])
    spread = torch.stack(gradients)
    # One network has nothing to differ from: then the gradients themselves.
    spread = (spread - spread.mean(dim=0) if len(gradients) > 1 else spread).flatten(0, 1)
    _, strength, rows_ = torch.linalg.svd(spread, full_matrices=False)
    scaled = rows_[:count] * strength[:count, None]
    basis: Tensor = (scaled * (_LARGEST / scaled.abs().amax())).round()
    return basis
