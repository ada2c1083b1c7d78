"""Student-guided search: minimal perturbations are found on a surrogate, for nothing, and checked on the teacher.

The first round attacks the surrogate from the sample and looks along the direction found, where the surrogate expects
the boundary; a pair whose class is not reached so is bisected towards its start sample, as BD does. Later rounds attack
from each pair's best boundary point and turn towards what is found. `db3.search.methods.phases` says when the surrogate
learns.

Notes:
    From the second round on the surrogate's boundary is shifted, pair by pair, to pass through the teacher's boundary
    point known (`level`): a gradient is right long before the height is.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from db3.arithmetic.sums import row_norm, row_sum
from db3.search.bisection import approach
from db3.search.ledger import Asks, Search
from db3.search.methods.sd import sample_distance
from db3.search.methods.semicircle import turn
from db3.search.minimal_perturbation import Margin, Steps, minimal_perturbation

FIRST = Steps(30)
LATER = Steps(20, size=(1.2, 0.02))
_REACH = 1.1  # a surrogate's first boundary lies about a tenth too near
_SLOPES = (0.02, 1.5)
_TINY = 1e-9
_START_TOLERANCE = 0.1


@dataclass(frozen=True)
class Round:
    """One round: relative width of its brackets, and its queries per pair at most."""

    tolerance: float
    queries: int


def first_round(search: Search, margin: Margin, starts: Float[Tensor, "n d"], how: Round, steps: Steps = FIRST) -> Asks:
    """Attack from the samples; towards the start sample (NaN: none) where that reaches nothing."""
    pairs = search.pairs
    started = torch.isfinite(starts[:, 0]).nonzero()[:, 0]
    sample_distance(search, starts[:, None])
    unmoved = search.distance.clone()
    found, distance = minimal_perturbation(margin, pairs.images, pairs.targets, steps, pairs.bounds)
    rows = (torch.isfinite(distance) & (distance > 0)).nonzero()[:, 0]
    directions = (found[rows] - pairs.images[rows]) / distance[rows, None]
    yield from approach(search, rows, directions, distance[rows] * _REACH, how.tolerance, how.queries)
    rest = started[search.distance[started] == unmoved[started]]
    rest = rest[search.distance[rest] > 0]
    half = search.distance[rest] / 2
    yield from approach(search, rest, search.direction(rest), half, _START_TOLERANCE, how.queries)


def later_round(search: Search, margin: Margin, how: Round, steps: Steps = LATER) -> Asks:
    """Attack from the best boundary points, the surrogate's boundary shifted to pass through them, and turn towards
    what
    is found: a turn gains something even where the surrogate is half right.
    """
    pairs = search.pairs
    rows = (torch.isfinite(search.distance) & (search.distance > 0) & search.affordable(1)).nonzero()[:, 0]
    if not len(rows):
        return
    images, targets, best = pairs.images[rows], pairs.targets[rows], search.best[rows]
    level, _ = margin(best, targets)
    found, distance = minimal_perturbation(margin, images, targets, steps, pairs.bounds, best, level)
    moved = torch.isfinite(distance) & (distance > 0)
    rows = rows[moved]
    v, step = search.direction(rows), found[moved] - images[moved]
    along = row_sum(step * v)
    across = step - along[:, None] * v
    length = row_norm(across)
    turned = (length > 0) & (along > 0)
    rows, t = rows[turned], (across / length.clamp(min=_TINY)[:, None])[turned]
    yield from turn(search, rows, t, (length / along)[turned].clamp(*_SLOPES), how.queries)
