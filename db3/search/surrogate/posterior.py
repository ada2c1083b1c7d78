"""What one-bit answers near a boundary point say of the boundary there, beside what a surrogate expects.

In units of the distance D and of the surrogate's slope, the teacher's margin near a boundary point is taken as

    f(x) = e(x) + φ(x)·w + a,   w ~ N(0, 1), a ~ N(0, offset²),

e the surrogate's margin less that at the point, φ the step from the point in coordinates in which a surrogate's error
is about as likely in any direction (`subspace.gradient_basis`), a the point's own depth inside class k. An answer is
+1 or −1 with probability σ(±f/ν); ν grows with the square of the step, as the neglected curvature does. The posterior
is Laplace's (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, algorithm 3.1), by at most `_STEPS`
Newton steps in the space of the answers: answers are fewer than pixels.

All in float64 and the exact arithmetic of `db3.arithmetic`: a pair's bits depend on the pair alone, on every machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from db3.arithmetic.functions import sigmoid, sqrt
from db3.arithmetic.guard import integer_sums
from db3.arithmetic.matrices import Cholesky, Factor, cholesky, factor, row_products

_STEPS = 5
_FURTHEST = 6.0  # of a Newton step, in units of ν: the likelihood is flat out there and would overshoot
_MINIMUM = 1e-4


@dataclass(frozen=True)
class Posterior:
    """Of n pairs, from q answers each at most, with p coordinates.

    Attributes:
        weights: mean of w.
        offset: mean of a.
    """

    weights: Float[Tensor, "n p"]
    offset: Float[Tensor, " n"]
    _steps: Factor
    _across: Factor  # the steps' columns as rows
    _root: Float[Tensor, "n q"]
    _factor: Cholesky

    def draw(self, prior: Float[Tensor, "n t p"]) -> Float[Tensor, "n t p"]:
        """Turn draws of the prior into deviations from the posterior's mean: what the answers explain is removed."""
        wide, root = prior.to(torch.float64), self._root[:, None]
        explained = row_products(wide, self._steps) * root
        left = wide - row_products(self._factor.solve(explained) * root, self._across)
        return left.to(prior.dtype)


def posterior(
    steps: Float[Tensor, "n q p"],
    expected: Float[Tensor, "n q"],
    answers: Float[Tensor, "n q"],
    noise: Float[Tensor, "n q"],
    offset: float,
) -> Posterior:
    """Laplace's posterior.

    Args:
        steps: φ of each answered image.
        expected: e.
        answers: +1 decided k, −1 not, 0 where a pair has fewer answers.
        noise: ν.
        offset: prior standard deviation of a.
    """
    steps, expected, answers, noise = _given(steps, expected, answers, noise)
    given = answers.abs()
    near, across = factor(steps), factor(steps.mT)
    inner = row_products(near, near) + offset * offset
    kernel = factor(inner)
    one = torch.eye(steps.shape[1], dtype=torch.float64, device=steps.device)
    f = expected
    for _ in range(_STEPS):
        likely = sigmoid(f / noise)
        curvature = (likely * (1 - likely) / (noise * noise)).clamp(min=_MINIMUM) * given
        slope = sigmoid(-answers * f / noise) * answers / noise
        root = sqrt(curvature)
        lower = cholesky(one + root[:, :, None] * inner * root[:, None, :])
        pull = curvature * (f - expected) + slope
        dual = pull - root * _vectors(lower.solve, root * _vectors(partial(row_products, b=kernel), pull))
        move = expected + _vectors(partial(row_products, b=kernel), dual) - f
        f = f + torch.maximum(torch.minimum(move, _FURTHEST * noise), -_FURTHEST * noise)
    weights = _vectors(partial(row_products, b=across), dual)
    total = _vectors(partial(row_products, b=torch.ones_like(dual[:1])), dual)[:, 0]  # whatever zeros it ends in
    level = total * (offset * offset)
    return Posterior(weights.to(torch.float32), level.to(torch.float32), near, across, root, lower)


def _given(
    steps: Float[Tensor, "n q p"], expected: Float[Tensor, "n q"], answers: Float[Tensor, "n q"], noise: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The answers that were given, in their order, as float64; what is left of a pair with fewer counts for nothing."""
    with integer_sums():
        most = int((answers != 0).sum(dim=1).amax()) if answers.numel() else 0
    order = (answers == 0).to(torch.uint8).argsort(dim=1, stable=True)[:, : max(1, most)]
    steps = steps.gather(1, order[..., None].expand(-1, -1, steps.shape[2])).to(torch.float64)
    expected, answers, noise = (part.gather(1, order).to(torch.float64) for part in (expected, answers, noise))
    none = answers == 0
    return (
        steps.masked_fill(none[..., None], 0.0),
        expected.masked_fill(none, 0.0),
        answers,
        noise.masked_fill(none, 1.0),
    )


def _vectors(compute: Callable[[Tensor], Tensor], vectors: Float[Tensor, "n q"]) -> Tensor:
    """Of one row for each pair."""
    return compute(vectors[:, None])[:, 0]
