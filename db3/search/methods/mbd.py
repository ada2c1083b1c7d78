"""MBD, minimal boundary distance: zeroth-order optimisation of the direction (paper, section 3; Sign-OPT, ICLR 2020).

With g(θ) the distance from the sample x to class k along the unit direction θ, minimise g by descent:

1. estimate the sign gradient from q random directions u_j, one query each:
   ĝ = Σ_j s_j·u_j with s_j = −1 if x + g(θ)·(θ + ε·û_j)/‖θ + ε·û_j‖ is decided k (the boundary came nearer), else +1;
2. line search: θ' = (θ − α·ĝ/‖ĝ‖) normalised is better when x + (1 − δ)·g(θ)·θ' is still decided k, with δ a
   tenth of the tolerance: then double α, else halve it;
3. re-bisect locally along θ' for g(θ').

Notes:
    How this differs from the paper's reference code. Step size α, smoothing ε and budget belong to each pair: a result
    never depends on the neighbours. "No improvement" is judged against a copy, not an alias. The image asked is clipped
    first and its own distance is what counts; the direction is then re-anchored on it. Directions are ±1 per pixel
    from a counter-based generator instead of Gaussian: their signed sums are integers, exact on every device.
    Re-bisection gallops down from g(θ) instead of searching ±1 % around it.
"""

from collections.abc import Generator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.arithmetic.sums import row_norm
from db3.search.bisection import gallop
from db3.search.directions import random_signs
from db3.search.ledger import Asks, Search

_MIN_STEP = 1e-3
_MIN_SMOOTHING = 1e-5
_GAIN = 0.1  # a step has to gain this share of the tolerance: an equal distance would be decided by its last bit
_TINY = 1e-12  # a direction that cancels to zero asks for the sample itself instead of NaN


def minimal_boundary_distance(
    search: Search,
    seed: int,
    directions: int,
    smoothing: float,
    step: float,
    tolerance: float,
    cell: int = 1,
) -> Asks:
    """Improve every pair's best boundary point until its budget is spent or its smoothing vanishes.

    Args:
        search: the ledger; pairs without a known boundary point are left alone.
        seed: with sample, class and iteration, the key of the random directions.
        directions: q, random directions per gradient estimate. An estimate that the budget cannot pay whole, with a
            step after it, is not begun: up to q queries of a pair's budget stay unspent.
        smoothing: ε, the probing radius as a share of the distance.
        step: α, the first step size, relative to the unit direction.
        tolerance: relative width of a bracket after re-bisection.
        cell: random directions are constant over cells of this many pixels a side: low frequencies reach an image
            classifier's boundary with fewer queries. 1: every pixel for itself, as in the paper.
    """
    alpha = torch.full_like(search.distance, step)
    epsilon = torch.full_like(search.distance, smoothing)
    for iteration in range(search.budget):  # every iteration asks something, so this bounds the loop
        active = torch.isfinite(search.distance) & (search.distance > 0) & (epsilon > _MIN_SMOOTHING)
        rows = (active & search.affordable(directions + 1)).nonzero()[:, 0]
        if not len(rows):
            return
        parts = []
        for piece in search.pieces(len(rows), directions):
            part = rows[piece]
            parts.append((yield from _sign_gradient(search, part, seed, iteration, directions, epsilon[part], cell)))
        gradient = torch.cat(parts)
        alpha[rows], improved = yield from _line_search(search, rows, gradient, alpha[rows], tolerance)
        # Nothing better along a whole estimate: look closer, and step as at the start.
        alpha[rows] = torch.where(improved, alpha[rows], step)
        epsilon[rows] = torch.where(improved, epsilon[rows], epsilon[rows] / 2)


def _sign_gradient(
    search: Search,
    rows: Int[Tensor, " r"],
    seed: int,
    iteration: int,
    count: int,
    epsilon: Float[Tensor, " r"],
    cell: int,
) -> Generator[Tensor, Tensor, Float[Tensor, "r d"]]:
    """Unit vector along ĝ, the signed sum of the random directions."""
    pairs, width = search.pairs, search.pairs.images.shape[1]
    theta, distance = search.direction(rows), search.distance[rows]
    steps = iteration * count + torch.arange(count, device=search.device).expand(len(rows), count)
    target, sample = (identity[rows, None].expand(len(rows), count) for identity in (pairs.targets, pairs.samples))
    u = random_signs(pairs.shape, cell, seed, steps, target, sample)
    epsilon = torch.maximum(epsilon, search.probe / distance)
    probe = (u * (epsilon / width**0.5)[:, None, None]).add_(theta[:, None])
    probe.mul_((distance[:, None] / row_norm(probe).clamp(min=_TINY))[..., None])
    hit = yield from search.ask(rows, probe.add_(pairs.images[rows, None]))
    s = torch.where(hit, -1.0, 1.0)
    total = (s[:, None] @ u)[:, 0]  # integers: exact in any order
    return total / row_norm(total).clamp(min=1)[:, None]


def _line_search(
    search: Search,
    rows: Int[Tensor, " r"],
    gradient: Float[Tensor, "r d"],
    alpha: Float[Tensor, " r"],
    tolerance: float,
) -> Generator[Tensor, Tensor, tuple[Float[Tensor, " r"], Tensor]]:
    """Double α while that improves, else halve it until something does; return the α kept and who improved."""
    theta = search.direction(rows)
    trial, kept = alpha.clone(), alpha.clone()
    improved = torch.zeros_like(alpha, dtype=torch.bool)
    halved, open_ = improved.clone(), ~improved
    while True:
        now = (open_ & search.affordable(1)[rows]).nonzero()[:, 0]
        if not len(now):
            return kept, improved
        candidate = theta[now] - trial[now, None] * gradient[now]
        candidate = candidate / row_norm(candidate).clamp(min=_TINY)[:, None]
        known = search.distance[rows[now]]
        reach = known * (1 - _GAIN * tolerance)
        hit = yield from search.along(rows[now], candidate, reach)
        yield from gallop(search, rows[now[hit]], candidate[hit], reach[hit], tolerance)
        # Where float32 cannot tell reach from known, a large α would hit the same point for ever.
        better = hit & (search.distance[rows[now]] < known)
        kept[now] = torch.where(better, trial[now], kept[now])
        improved[now] |= better
        halved[now] |= ~better
        trial[now] = torch.where(halved[now], trial[now] / 2, trial[now] * 2)
        open_[now] = torch.where(improved[now], ~halved[now], trial[now] > _MIN_STEP)
