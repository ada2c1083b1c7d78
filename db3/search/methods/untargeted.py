"""Untargeted minimal boundary distance: the nearest image that is not decided as the sample is, whatever it is instead.

The search of the zero-shot method (Wang, ICML 2021, section 4): the same descent as `db3.search.methods.mbd`, in which
every decision other than the sample's own is a hit (`Pairs.untargeted`).

Notes:
    The reference begins each search at a hundred random directions, whose queries it does not count; noise around a
    noise image is mostly decided as the image itself. Here a search begins at images already known to be decided
    otherwise: the boundary point found before the sample last moved, which costs nothing, and samples of other classes,
    each of which costs one query where it leads no nearer.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from db3.search.bisection import gallop
from db3.search.ledger import Asks, Search
from db3.search.methods.bd import boundary_distance
from db3.search.methods.mbd import minimal_boundary_distance


@dataclass(frozen=True)
class Descent:
    """How the direction is improved; the names are those of `minimal_boundary_distance`.

    Attributes:
        directions: q, random directions per gradient estimate.
        smoothing: ε, the probing radius as a share of the distance.
        step: α, the first step size on the direction.
        tolerance: relative width of a bracket.
        cell: random directions are constant over cells of this many pixels a side.
    """

    directions: int = 20
    smoothing: float = 0.1
    step: float = 0.2
    tolerance: float = 0.01
    cell: int = 1

    @property
    def minimum(self) -> int:
        """Fewest queries worth a search: some to close a bracket, one estimate and a step after it."""
        return self.directions + 10


def untargeted_boundary(
    search: Search, known: Float[Tensor, "n d"], starts: Float[Tensor, "n q d"], seed: int, how: Descent
) -> Asks:
    """Spend every pair's budget on the nearest image decided as any class but the pair's own.

    Args:
        search: the ledger of untargeted pairs.
        known: an image known to be decided otherwise than the sample; NaN rows: none.
        starts: further ones, nearest first, each looked at along its direction; NaN rows mean that a pair has fewer.
        seed: with sample, key and iteration, of the random directions.
        how: the descent.
    """
    rows = torch.isfinite(known[:, 0]).nonzero()[:, 0]
    search.know(rows, known[rows])
    rows = rows[search.distance[rows] > 0]
    yield from gallop(search, rows, search.direction(rows), search.distance[rows], how.tolerance)
    yield from boundary_distance(search, starts, how.tolerance)
    yield from minimal_boundary_distance(search, seed, how.directions, how.smoothing, how.step, how.tolerance, how.cell)
