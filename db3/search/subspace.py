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

from db3.arithmetic.functions import divide
from db3.arithmetic.matrices import cholesky, row_products
from db3.arithmetic.sums import row_norm
from db3.rng import Purpose, signs
from db3.search.directions import random_signs
from db3.search.minimal_perturbation import Margin, movable
from db3.teachers.base import ImageShape

_TINY = 1e-9
_ITERATIONS = 2
_RANK = 1e-10  # directions of less than this share of the largest square are none

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
    """A basis φ of the space in which networks' unit gradients differ most: φᵀφ is near the best approximation of their
    covariance by so many directions, and the sum of its squares is 1.

    By two steps of subspace iteration from random signs and Nyström's formula (Halko, Martinsson, Tropp, "Finding
    Structure with Randomness", SIAM Review 2011, sections 4.5 and 5.5): products and Cholesky factors alone, which are
    the same on every machine, unlike a library's singular vectors. What is made of φ (kernels, random steps) does not
    change when it is turned, so it need not be orthogonal.

    Args:
        margins: of each network; one alone has nothing to differ from, and gives its gradients themselves.
        points: images near the boundary.
        targets: the class of each margin.
        bounds: smallest and largest pixel value.
        count: directions at most.

    Returns:
        φ, float32, at most `count` rows.
    """
    gradients = []
    for margin in margins:
        _, gradient = margin(points, targets)
        gradient = gradient * movable(points, gradient, bounds)
        gradients.append(gradient / row_norm(gradient).clamp(min=_TINY)[:, None])
    mean = divide(sum(gradients[1:], gradients[0]), len(gradients))
    spread = torch.cat([gradient - mean for gradient in gradients]) if len(gradients) > 1 else gradients[0]
    basis = _principal(spread.to(torch.float64), count)
    return (basis / row_norm(basis.flatten()).clamp(min=_TINY)).to(torch.float32)


def _principal(rows: Float[Tensor, "r d"], count: int) -> Float[Tensor, "p d"]:
    """φ with φᵀφ near rowsᵀ·rows."""
    number, width = rows.shape
    if number <= count:
        return rows
    covariance = row_products(rows.T, rows.T)
    if width <= count:
        return _root(torch.eye(width, dtype=rows.dtype, device=rows.device), covariance)
    each = torch.arange(count, device=rows.device)
    drawn = signs(0, Purpose.SKETCH, each, torch.zeros_like(each), torch.zeros_like(each), number).to(torch.float64)
    space = _orthogonal(row_products(drawn, rows.T))
    for _ in range(_ITERATIONS):
        space = _orthogonal(row_products(space, covariance))
    return _root(space, covariance)


def _root(space: Float[Tensor, "p d"], covariance: Float[Tensor, "d d"]) -> Float[Tensor, "p d"]:
    """L⁻¹·S·C with L·Lᵀ = S·C·Sᵀ: Nyström's approximation of C within the rows of S, as a root."""
    seen = row_products(space, covariance)
    return _solved(row_products(seen, space), seen)


def _orthogonal(rows: Float[Tensor, "p d"]) -> Float[Tensor, "p d"]:
    return _solved(row_products(rows, rows), rows)


def _solved(gram: Float[Tensor, "p p"], rows: Float[Tensor, "p d"]) -> Float[Tensor, "p d"]:
    return cholesky(gram, _RANK * float(gram.diagonal().amax())).forward(rows.T).T
