"""Where a normal is likely to lie: random directions of low frequency, and the subspace in which surrogates differ.

What a search must estimate from one-bit answers costs the more the more dimensions it is spread over. Surrogates of
other first weights err differently, so the differences of their gradients, over many samples and classes, show along
which directions they err at all (measured on MNIST: of the squared error of a surrogate's unit gradient 100 of 784 such
directions hold 57 %, 200 hold 75 %, 400 hold 93 %; as many cells of 2×2 or low frequencies hold 47–50 %).
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.arithmetic.sums import row_norm
from db3.search.directions import random_signs
from db3.search.minimal_perturbation import Margin, movable
from db3.teachers.base import ImageShape

Directions = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(step, class, sample), int64 of one shape [*n] → integer-valued directions, float32 [*n, D]."""


def cells(shape: ImageShape, cell: int, seed: int) -> Directions:
    """±1 per cell of pixels, see `random_signs`."""
    return lambda step, target, sample: random_signs(shape, cell, seed, step, target, sample)


def error_basis(
    margins: Sequence[Margin],
    points: Float[Tensor, "n d"],
    targets: Int[Tensor, " n"],
    bounds: tuple[float, float],
    count: int,
) -> Float[Tensor, "p d"]:
    """Principal components of the differences between networks' unit gradients, the sum of their squares being 1.

    Args:
        margins: of each network; one alone has nothing to differ from, and gives its gradients themselves.
        points: images near the boundary.
        targets: the class of each margin.
        bounds: smallest and largest pixel value.
        count: components at most.

    Returns:
        Orthogonal rows, each as long as the networks differ along it.
    """
    gradients = []
    for margin in margins:
        _, gradient = margin(points, targets)
        gradient = gradient * movable(points, gradient, bounds)
        gradients.append(gradient / row_norm(gradient).clamp(min=1e-9)[:, None])
    spread = torch.stack(gradients)
    spread = (spread - spread.mean(dim=0) if len(gradients) > 1 else spread).flatten(0, 1)
    _, strength, rows = torch.linalg.svd(spread, full_matrices=False)
    scaled: Tensor = rows[:count] * strength[:count, None]
    return scaled / row_norm(scaled.flatten()).clamp(min=1e-9)
