"""The boundary's normal at a point, from one-bit answers: shared by HopSkipJump and the semicircle search."""

from collections.abc import Generator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.arithmetic.sums import row_norm, row_sum
from db3.search.ledger import Search
from db3.search.subspace import Directions


def tangential(
    search: Search,
    rows: Int[Tensor, " r"],
    directions: Directions,
    radius: float,
    iteration: int,
    count: int,
    prior: Float[Tensor, "r d"] | None = None,
    trust: float = 0.0,
) -> Generator[Tensor, Tensor, Float[Tensor, "r d"]]:
    """Unit vectors along which class k is expected, at right angles to each pair's best direction v.

    t = Σ_j (s_j − s̄)·P·u_j with s_j = ±1 as x + D·v + radius·D·P·u_j/‖P·u_j‖ is decided k or not, and P the projection
    off v. The baseline s̄ is HopSkipJump's (Chen, Jordan, Wainwright, IEEE S&P 2020, eq. 16): a curved boundary decides
    most probes alike. Both sums are of integers, and the projection is linear, so it is applied to the sums.

    Args:
        search: the ledger; every row has a boundary point.
        rows: pairs, each at most once, that can pay `count` queries.
        directions: integer-valued random directions.
        radius: of the probes, as a share of the distance.
        iteration: which estimate this is: keys the directions.
        count: q, probes a pair.
        prior: a guess of the normal, such as a surrogate's gradient.
        trust: weight of the prior's tangential part, beside the estimate's unit length.

    Notes:
        Probing across v only: the component along v is what the bracket already knows.
    """
    v = search.direction(rows)
    parts = []
    for piece in search.pieces(len(rows), count):
        parts.append((yield from _signed_sum(search, rows[piece], v[piece], directions, radius, iteration, count)))
    estimate = _unit(_off(torch.cat(parts), v))
    if prior is None:
        return estimate
    return _unit(estimate + trust * _off(_scaled(prior), v))


def _signed_sum(
    search: Search,
    rows: Int[Tensor, " r"],
    v: Float[Tensor, "r d"],
    directions: Directions,
    radius: float,
    iteration: int,
    count: int,
) -> Generator[Tensor, Tensor, Float[Tensor, "r d"]]:
    """Σ_j (s_j − s̄)·u_j of the pairs."""
    pairs, distance, v = search.pairs, search.distance[rows], v[:, None]
    steps = iteration * count + torch.arange(count, device=search.device).expand(len(rows), count)
    target, sample = (identity[rows, None].expand(len(rows), count) for identity in (pairs.targets, pairs.samples))
    u = directions(steps, target, sample)
    # In place where it can be: fresh memory costs a small teacher's search more than arithmetic does.
    points = u * v
    along = row_sum(points)[..., None]
    torch.sub(u, torch.mul(along, v, out=points), out=points)
    reach = (radius * distance).clamp(min=search.probe)[:, None] / row_norm(points).clamp(min=1e-9)
    hit = yield from search.ask(rows, points.mul_(reach[..., None]).add_(search.best[rows][:, None]))
    s = torch.where(hit, 1.0, -1.0)
    signed, plain = (torch.stack([s, torch.ones_like(s)], dim=1) @ u).unbind(dim=1)
    return signed - (s.sum(dim=1) / count)[:, None] * plain


def _off(vectors: Float[Tensor, "r d"], v: Float[Tensor, "r d"]) -> Float[Tensor, "r d"]:
    return vectors - row_sum(vectors * v)[:, None] * v


def _scaled(vectors: Float[Tensor, "r d"]) -> Float[Tensor, "r d"]:
    return vectors / row_norm(vectors).clamp(min=1e-9)[:, None]


def _unit(vectors: Float[Tensor, "r d"]) -> Float[Tensor, "r d"]:
    """Unit vectors; a zero vector (all probes alike) stays zero: the step along it finds nothing and costs little."""
    return _scaled(vectors)
