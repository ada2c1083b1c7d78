"""HopSkipJump (Chen, Jordan, Wainwright, IEEE S&P 2020), L2, targeted: estimate the normal, hop along it, bisect back.

One iteration from the boundary point b at distance D: the normal ŵ estimated at b; the hop b + (D/√i)·ŵ, halved until
it is decided k; bisection on the segment from the sample to the hop's end.

Notes:
    How this differs from the paper: every pair has its own step and budget (no norm over a batch); directions are
    integer-valued (cells of pixels, or combinations of a basis) instead of Gaussian, so that sums are exact; probes lie
    across the best direction, whose own share of the normal is taken as `along`; the clipped image's distance counts.
"""

import math
from collections.abc import Generator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.arithmetic.sums import row_norm
from db3.search.bisection import bisect, gallop
from db3.search.ledger import Asks, Search
from db3.search.minimal_perturbation import Margin
from db3.search.normal import tangential
from db3.search.subspace import Directions

_HALVINGS = 8


def hop_skip_jump(
    search: Search,
    directions: Directions,
    probes: int = 40,
    radius: float = 0.05,
    tolerance: float = 0.01,
    along: float = 1.0,
    prior: Margin | None = None,
    trust: float = 0.0,
) -> Asks:
    """Improve every pair's best boundary point until its budget is spent.

    Args:
        search: the ledger; pairs without a boundary point are left alone.
        directions: to probe in.
        probes: q of the first estimate; iteration i takes q·√i, as in the paper.
        radius: of the probes, as a share of the distance.
        tolerance: relative width of a bracket.
        along: the normal's component along the best direction, beside 1 across it.
        prior: its gradient at the boundary point joins the estimate with weight `trust`.
        trust: see `prior`.
    """
    for iteration in range(1, search.budget + 1):
        count = int(probes * math.sqrt(iteration))
        active = torch.isfinite(search.distance) & (search.distance > 0) & search.affordable(count + 3)
        rows = active.nonzero()[:, 0]
        if not len(rows):
            return
        yield from gallop(search, rows, search.direction(rows), search.distance[rows], tolerance / 2)
        rows = rows[search.affordable(count + 1)[rows]]
        gradient = prior(search.best[rows], search.pairs.targets[rows])[1] if prior and len(rows) else None
        across = yield from tangential(search, rows, directions, radius, iteration, count, gradient, trust)
        normal = along * search.direction(rows) + across
        normal = normal / row_norm(normal)[:, None]
        yield from _hop(search, rows, normal, search.distance[rows] / math.sqrt(iteration), tolerance)


def _hop(
    search: Search, rows: Int[Tensor, " r"], normal: Float[Tensor, "r d"], step: Float[Tensor, " r"], tolerance: float
) -> Generator[Tensor, Tensor, None]:
    """Hop along the normal, halving until the end is decided k, then come back along the ray from the sample.

    The ray is left when it is not decided k at the distance known: its crossing would be farther.
    """
    images, origin = search.pairs.images[rows], search.best[rows]
    waiting = torch.ones_like(step, dtype=torch.bool)
    for _ in range(_HALVINGS):
        now = (waiting & search.affordable(1)[rows]).nonzero()[:, 0]
        if not len(now):
            return
        hop = origin[now] + step[now, None] * normal[now] - images[now]
        length = row_norm(hop).clamp(min=1e-9)
        ray = hop / length[:, None]
        # Asked at the distance known: that answers both whether the hop helps and where the bracket ends.
        reach = torch.minimum(length, search.distance[rows[now]])
        hit = yield from search.along(rows[now], ray, reach)
        zero = 0.7 * reach[hit]
        yield from bisect(search, rows[now[hit]], ray[hit], zero, reach[hit], tolerance)
        waiting[now[hit]] = False
        step = step / 2
