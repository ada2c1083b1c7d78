"""Bisection on a ray: the step that every search shares."""

from collections.abc import Generator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from db3.arithmetic.functions import sqrt
from db3.search.ledger import Search


def bisect(
    search: Search,
    rows: Int[Tensor, " r"],
    directions: Float[Tensor, "r d"],
    outside: Float[Tensor, " r"],
    inside: Float[Tensor, " r"],
    tolerance: float,
) -> Generator[Tensor, Tensor, Float[Tensor, " r"]]:
    """Narrow the bracket [outside, inside] on each ray x + t·direction until it is narrow enough.

    Args:
        search: the ledger; best points and distances are recorded there.
        rows: pairs, each at most once.
        directions: unit vectors.
        outside: distance along the ray, not (or not known to be) in class k.
        inside: distance at which the image is known to be decided k.
        tolerance: relative width at which a pair is done (`Search.finest` is another). Float32 ends every loop: a
            bracket that has no float between its ends is done too.

    Returns:
        The distance along the ray at which each pair is still decided k.
    """
    outside, inside, finest = outside.clone(), inside.clone(), search.finest(directions)
    while True:
        middle = (outside + inside) / 2
        wide = inside - outside > torch.maximum(tolerance * inside, finest)
        active = wide & (middle > outside) & (middle < inside) & search.affordable(1)[rows]
        now = active.nonzero()[:, 0]
        if not now.shape[0]:
            return inside
        reach = middle[now]
        hit = yield from search.along(rows[now], directions[now], reach)
        inside[now] = torch.where(hit, reach, inside[now])
        outside[now] = torch.where(hit, outside[now], reach)


def gallop(
    search: Search,
    rows: Int[Tensor, " r"],
    directions: Float[Tensor, "r d"],
    inside: Float[Tensor, " r"],
    tolerance: float,
) -> Generator[Tensor, Tensor, None]:
    """Walk down each ray from a distance known to be decided k, doubling the stride until class k is left, and
    bisect the last stride: cheap where the boundary is expected just below.
    """
    if not rows.shape[0]:
        return
    inside, outside = inside.clone(), torch.zeros_like(inside)
    stride = torch.maximum(tolerance * inside, search.finest(directions))
    now = torch.arange(rows.shape[0], device=search.device)
    while True:
        now = now[search.affordable(1)[rows[now]] & (inside[now] > stride[now])]
        if not now.shape[0]:
            break
        reach = inside[now] - stride[now]
        hit = yield from search.along(rows[now], directions[now], reach)
        inside[now] = torch.where(hit, reach, inside[now])
        outside[now] = torch.where(hit, outside[now], reach)
        now = now[hit]
        stride[now] *= 2
    yield from bisect(search, rows, directions, outside, inside, tolerance)


def approach(
    search: Search,
    rows: Int[Tensor, " r"],
    directions: Float[Tensor, "r d"],
    guess: Float[Tensor, " r"],
    tolerance: float,
    queries: int,
) -> Generator[Tensor, Tensor, Bool[Tensor, " r"]]:
    """Look along each ray for class k nearer than the best known, from a guess of where its boundary lies.

    A miss leads outward, by 1.25 and then ever longer strides, up to the distance already known; a first hit leads
    inward likewise; between a miss and a hit the bracket is bisected.

    Args:
        search: the ledger; distances of +inf (nothing known yet) leave the way outward open.
        rows: pairs, each at most once.
        directions: unit vectors.
        guess: distance along the ray to ask first.
        tolerance: relative width at which a pair is done, and the least gain worth a query.
        queries: at most this many a pair.

    Returns:
        Whether a nearer image decided k was found.
    """
    outside, inside, finest = torch.zeros_like(guess), search.distance[rows], search.finest(directions)
    probe = torch.minimum(guess, inside * (1 - tolerance / 2))
    outward, inward = torch.full_like(guess, 1.25), torch.full_like(guess, 0.8)
    found = torch.zeros_like(guess, dtype=torch.bool)
    live = ~found
    for _ in range(queries):
        live = live & search.affordable(1)[rows]
        now = live.nonzero()[:, 0]
        if not now.shape[0]:
            break
        hit = yield from search.along(rows[now], directions[now], probe[now])
        inside[now] = torch.where(hit, probe[now], inside[now])
        outside[now] = torch.where(hit, outside[now], probe[now])
        found[now] |= hit
        down = torch.where(outside > 0, (outside + inside) / 2, inside * inward)
        up = torch.minimum(probe * outward, inside * (1 - tolerance / 2))
        width = torch.maximum(tolerance * inside.nan_to_num(posinf=0.0), finest)
        live = inside - outside > width
        probe = torch.where(live, torch.where(found, down, up), probe)
        outward, inward = outward * sqrt(outward), inward * sqrt(inward)
    return found
