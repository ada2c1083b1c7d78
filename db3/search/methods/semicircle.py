"""Semicircle search: from a boundary point move on the circle through the sample, in the plane of the estimated normal.

With v the unit direction to the best boundary point (distance D) and t the estimated tangential direction into class k,
the points x + D·(v + τ·t)/(1 + τ²) lie on the circle with diameter [x, boundary point]; all are nearer than D, by
cos(arctan τ). The largest slope τ still decided k is the best point of the plane if the boundary is flat: the foot of a
perpendicular lies on that circle. So one bisection over τ replaces a step size. Source: CGBA (Reza, Rahmati, Wu, Dai,
ICCV 2023).

Notes:
    Chosen over SurFree, which also searches circles, but in planes drawn at random: here an estimate of the normal is
    available. Slopes instead of turns keep to sums and quotients, which round alike everywhere.
    The first slope tried is a little above the last one found.
"""

from collections.abc import Generator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.search.bisection import gallop
from db3.search.ledger import Asks, Search
from db3.search.normal import tangential
from db3.search.subspace import Directions

_WIDEST = 2.5  # of τ: a distance of 0.37 D
_FIRST, _MINIMUM = 0.2, 0.02


@dataclass(frozen=True)
class SemicircleSettings:
    """The search's numbers.

    Attributes:
        probes: per estimate at first; estimate number i takes probes·(1 + growth·i), at most `most`.
        growth: the nearer to the minimum, the smaller the component to be estimated.
        most: probes per estimate at most.
        radius: of the probes, as a share of the distance.
        turns: queries of each bisection over τ.
        tolerance: relative width of the bracket before each estimate.
    """

    probes: int = 20
    growth: float = 0.1
    maximum: int = 100
    radius: float = 0.05
    turns: int = 5
    tolerance: float = 0.005


def semicircle(search: Search, directions: Directions, settings: SemicircleSettings) -> Asks:
    """Improve every pair's best boundary point until its budget cannot pay another iteration.

    Args:
        search: the ledger; pairs without a boundary point are left alone.
        directions: to probe in.
        settings: numbers.
    """
    slope = torch.full_like(search.distance, _FIRST)
    for iteration in range(search.budget):
        probes = min(settings.maximum, int(settings.probes * (1 + settings.growth * iteration)))
        cost = probes + settings.turns + 2
        active = torch.isfinite(search.distance) & (search.distance > 0) & search.affordable(cost)
        rows = active.nonzero()[:, 0]
        if not len(rows):
            return
        yield from _tighten(search, rows, settings.tolerance)
        rows = rows[search.affordable(probes + 1)[rows]]
        t = yield from tangential(search, rows, directions, settings.radius, iteration, probes)
        slope[rows] = yield from turn(search, rows, t, slope[rows], settings.turns)


def _tighten(search: Search, rows: Int[Tensor, " r"], tolerance: float) -> Asks:
    """Move the best points to the boundary on their own rays: probes tell nothing from further inside."""
    yield from gallop(search, rows, search.direction(rows), search.distance[rows], tolerance)


def turn(
    search: Search, rows: Int[Tensor, " r"], t: Float[Tensor, "r d"], slope: Float[Tensor, " r"], queries: int
) -> Generator[Tensor, Tensor, Float[Tensor, " r"]]:
    """Bisect for the largest slope τ towards t still decided k.

    Args:
        search: the ledger; every row has a boundary point.
        rows: pairs, each at most once.
        t: unit vectors at right angles to each pair's best direction.
        slope: τ to try first.
        queries: at most this many a pair.

    Returns:
        Where to begin next time.
    """
    v, distance = search.direction(rows), search.distance[rows]
    inside, outside = torch.zeros_like(slope), torch.full_like(slope, _WIDEST)
    for _ in range(queries):
        now = search.affordable(1)[rows].nonzero()[:, 0]
        if not len(now):
            break
        reach = distance[now] / (1 + slope[now] * slope[now])
        hit = yield from search.along(rows[now], v[now] + slope[now, None] * t[now], reach)
        inside[now] = torch.where(hit, slope[now], inside[now])
        outside[now] = torch.where(hit, outside[now], slope[now])
        between = torch.where(inside > 0, (inside + outside) / 2, outside * 0.4)
        slope = torch.where(outside < _WIDEST, between, torch.minimum(inside * 1.6, (inside + outside) / 2))
    return (inside * 1.1).clamp(_MINIMUM, _WIDEST / 2)
