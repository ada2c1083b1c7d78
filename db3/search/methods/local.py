"""Local search: probes around the best boundary point say how the surrogates err there; then turn along the corrected
normal.

One iteration: close the bracket on the best ray; ask probes where the posterior (`db3.search.surrogate.posterior`) is
least sure, moved to where it expects the boundary, so that either answer is as likely; and turn in the plane of the
corrected normal (`semicircle.turn`). All answers of a pair go on counting, discounted by how far they lie from the best
point.

Notes:
    One-bit answers tell about 0.6·q/p of an error spread over p dimensions, so what matters is a small p: a surrogate's
    errors are expected along the directions in which surrogates differ.
    The jump to the corrected model's own minimum was worse than the turn: it takes an error for an opportunity.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from db3.arithmetic.sums import row_norm, row_sum
from db3.rng import Purpose, signs
from db3.search.bisection import gallop
from db3.search.ledger import Asks, Search
from db3.search.methods.semicircle import turn
from db3.search.minimal_perturbation import movable
from db3.search.surrogate.history import History
from db3.search.surrogate.posterior import Posterior, posterior
from db3.search.surrogate.surrogate import Surrogate

ROWS = 32
"""Pairs of one posterior: what fits a processor's cache."""

_FEWER = 8  # probes of the last, smaller iterations
_CLOSING = 3  # queries that a bracket takes to close, about
_PROBIT = 1.6  # σ(1.6·z) is close to the normal distribution's Φ(z)
_FURTHEST = 0.05  # that a probe is moved, as a share of the distance
_MINIMUM_ALONG, _SLOPES = 0.1, (0.02, 1.5)
_TINY = 1e-9


@dataclass(frozen=True)
class LocalSettings:
    """The search's numbers; lengths as shares of the distance.

    Attributes:
        probes: per iteration.
        turns: queries of each turn.
        radius: of the probes.
        tolerance: relative width of the bracket before the probes.
        error: expected squared length of the surrogate's error, its own gradient's length being 1; far more than was
            ever measured, so that answers outweigh the surrogate (docs/benchmarks/searches.md).
        noise: ν at the boundary point.
        bend: ν grows by bend·(step/D)².
        offset: expected depth of the boundary point inside class k.
        reach: squared length of a step from which on an answer is left out.
        room: answers a pair that are kept.
        share: of the expected slope that the turn tries first.
        seed: of the probes.
    """

    probes: int = 20
    turns: int = 4
    radius: float = 0.12
    tolerance: float = 0.003
    error: float = 12.0
    noise: float = 0.001
    bend: float = 1.0
    offset: float = 0.003
    reach: float = 0.1
    room: int = 256
    share: float = 0.7
    seed: int = 0


@dataclass(frozen=True)
class _Local:
    """The corrected surrogate near the best points of some pairs."""

    level: Float[Tensor, " r"]
    slope: Float[Tensor, " r"]
    place: Float[Tensor, "r p"]
    free: Bool[Tensor, "r d"]
    fit: Posterior
    normal: Float[Tensor, "r d"]


def local(search: Search, surrogate: Surrogate, settings: LocalSettings = LocalSettings()) -> Asks:
    """Improve every pair's best boundary point until its budget is spent; pairs without one are left alone."""
    history = History(search, surrogate, settings.room)
    for probes in (settings.probes, _FEWER):  # what no whole iteration can be paid from still pays a smaller one
        for _ in range(search.budget):
            rows = _open(search, probes + settings.turns + _CLOSING)
            if not len(rows):
                break
            yield from gallop(search, rows, search.direction(rows), search.distance[rows], settings.tolerance)
            rows = rows[search.affordable(probes + 1)[rows]]
            if not len(rows):
                continue  # closing the brackets took more than expected
            history.update()
            points = _in_calls(rows, partial(_probes, search, surrogate, history, settings, probes))
            yield from search.ask(rows, points)
            history.update()
            normal = _in_calls(rows, partial(_normal, search, surrogate, history, settings))
            yield from _turn_towards(search, rows, normal, settings)
    last = _open(search, 1)
    yield from gallop(search, last, search.direction(last), search.distance[last], settings.tolerance / 4)


def _open(search: Search, queries: int) -> Int[Tensor, " r"]:
    known = torch.isfinite(search.distance) & (search.distance > 0)
    return (known & search.affordable(queries)).nonzero()[:, 0]


def _in_calls(rows: Int[Tensor, " r"], compute: Callable[[Tensor], Tensor]) -> Tensor:
    """Compute for `ROWS` pairs at a time."""
    return torch.cat([compute(part) for part in torch.split(rows, ROWS)])


def _corrected(
    search: Search, surrogate: Surrogate, history: History, settings: LocalSettings, rows: Int[Tensor, " r"]
) -> _Local:
    """The surrogate at the best points, corrected by all answers near them."""
    best, distance = search.best[rows], search.distance[rows]
    level, gradient = surrogate.margin(best, search.pairs.targets[rows])
    free = movable(best, gradient, search.pairs.bounds)
    slope = row_norm(gradient * free).clamp(min=_TINY)
    scale = math.sqrt(settings.error) / distance[:, None, None]
    known, place = history.of(rows), surrogate.coordinates(best)
    steps = (known.places - place[:, None]) * scale
    squared = known.squared / (distance * distance)[:, None]
    given = known.answers * (squared < settings.reach)
    expected = (known.margins - level[:, None]) / (slope * distance)[:, None]
    noise = settings.noise + settings.bend * squared.clamp(max=settings.reach)
    fit = posterior(steps, expected, given, noise / _PROBIT, settings.offset)
    turned = surrogate.directions(fit.weights) * math.sqrt(settings.error)
    normal = (gradient / slope[:, None] + turned) * free
    return _Local(level, slope, place, free, fit, normal / row_norm(normal).clamp(min=_TINY)[:, None])


def _probes(
    search: Search, surrogate: Surrogate, history: History, settings: LocalSettings, count: int, rows: Int[Tensor, " r"]
) -> Float[Tensor, "r t d"]:
    """Where the posterior is least sure, on the boundary that it expects."""
    here, pairs = _corrected(search, surrogate, history, settings, rows), search.pairs
    best, distance = search.best[rows], search.distance[rows]
    turns = search.asked[rows, None] + torch.arange(count, device=search.device)
    target, sample = (identity[rows, None].expand(-1, count) for identity in (pairs.targets, pairs.samples))
    drawn = here.fit.draw(signs(settings.seed, Purpose.PROBE, turns, target, sample, len(surrogate.basis)))
    across = surrogate.directions(drawn) * here.free[:, None]
    across = across - row_sum(across * here.normal[:, None])[..., None] * here.normal[:, None]
    radius = (settings.radius * distance).clamp(min=search.probe)
    step = across * (radius[:, None] / row_norm(across).clamp(min=_TINY))[..., None]
    points = (best[:, None] + step).clamp(*pairs.bounds)
    values = surrogate.value(points.flatten(0, 1), pairs.targets[rows].repeat_interleave(count)).view(-1, count)
    places = surrogate.coordinates(points.flatten(0, 1)).view(*points.shape[:2], -1)
    moved = places - here.place[:, None]
    bent = row_sum(moved * (math.sqrt(settings.error) * here.fit.weights)[:, None])
    height = (values - here.level[:, None]) / here.slope[:, None] + bent + (here.fit.offset * distance)[:, None]
    maximum = (_FURTHEST * distance)[:, None]
    return points - torch.minimum(torch.maximum(height, -maximum), maximum)[..., None] * here.normal[:, None]


def _normal(
    search: Search, surrogate: Surrogate, history: History, settings: LocalSettings, rows: Int[Tensor, " r"]
) -> Float[Tensor, "r d"]:
    return _corrected(search, surrogate, history, settings, rows).normal


def _turn_towards(
    search: Search, rows: Int[Tensor, " r"], normal: Float[Tensor, "r d"], settings: LocalSettings
) -> Asks:
    """Turn in the plane of the best direction and the normal, from a share of the slope at which a plane is nearest."""
    v = search.direction(rows)
    along = row_sum(normal * v)
    t = normal - along[:, None] * v
    length = row_norm(t)
    slope = (length / along.clamp(min=_MINIMUM_ALONG)).clamp(*_SLOPES) * settings.share
    yield from turn(search, rows, t / length.clamp(min=_TINY)[:, None], slope, settings.turns)
