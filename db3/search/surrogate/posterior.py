"""What one-bit answers near a boundary point say of the boundary there, beside what a surrogate expects.

In units of the distance D and of the surrogate's slope, the teacher's margin near a boundary point is taken as

    f(x) = e(x) + φ(x)·w + a,   w ~ N(0, 1), a ~ N(0, offset²),

e the surrogate's margin less that at the point, φ the step from the point in coordinates in which a surrogate's error
is about as likely in any direction (`subspace.gradient_basis`), a the point's own depth inside class k. An answer is
+1 or −1 with probability σ(±f/ν); ν grows with the square of the step, as the neglected curvature does. The posterior
is Laplace's (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, algorithm 3.1), by at most `_STEPS`
Newton steps in the space of the answers: answers are fewer than pixels.

Every row is padded to one number of answers, and `Posterior` is made for one number of rows, so a pair's bits do not
depend on its neighbours. Between machines the last bits may differ, as a surrogate's do.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_STEPS = 5
_FURTHEST = 6.0  # of a Newton step, in units of ν: the likelihood is flat out there and would overshoot
_MINIMUM = 1e-4


@dataclass(frozen=True)
class Posterior:
    """Of n pairs, from q answers each, with p coordinates.

    Attributes:
        weights: mean of w.
        offset: mean of a.
    """

    weights: Float[Tensor, "n p"]
    offset: Float[Tensor, " n"]
    _steps: Float[Tensor, "n q p"]
    _root: Float[Tensor, "n q"]
    _factor: Float[Tensor, "n q q"]

    def draw(self, prior: Float[Tensor, "n t p"]) -> Float[Tensor, "n t p"]:
        """Turn draws of the prior into deviations from the posterior's mean: what the answers explain is removed."""
        explained = torch.einsum("nqp,ntp->nqt", self._steps, prior) * self._root[..., None]
        solved = torch.cholesky_solve(explained, self._factor) * self._root[..., None]
        return prior - torch.einsum("nqp,nqt->ntp", self._steps, solved)


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
    given = answers.abs()
    kernel = torch.einsum("nqp,nrp->nqr", steps, steps) + offset * offset
    one = torch.eye(steps.shape[1], device=steps.device)
    f = expected
    for _ in range(_STEPS):
        likely = torch.sigmoid(f / noise)
        curvature = (likely * (1 - likely) / noise**2).clamp(min=_MINIMUM) * given
        slope = torch.sigmoid(-answers * f / noise) * answers / noise
        root = curvature.sqrt()
        factor, _ = torch.linalg.cholesky_ex(one + root[:, :, None] * kernel * root[:, None, :])
        pull = curvature * (f - expected) + slope
        inner = root * torch.einsum("nqr,nr->nq", kernel, pull)
        dual = pull - root * torch.cholesky_solve(inner[..., None], factor)[..., 0]
        move = expected + torch.einsum("nqr,nr->nq", kernel, dual) - f
        f = f + torch.maximum(torch.minimum(move, _FURTHEST * noise), -_FURTHEST * noise)
    weights = torch.einsum("nqp,nq->np", steps, dual)
    return Posterior(weights, offset * offset * dual.sum(dim=1), steps, root, factor)
