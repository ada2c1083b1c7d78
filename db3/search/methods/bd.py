"""BD, boundary distance (paper, section 3: robustness measured on the segment between two samples)."""

import torch
from jaxtyping import Float
from torch import Tensor

from db3.arithmetic.sums import row_norm
from db3.search.bisection import bisect
from db3.search.ledger import Asks, Search


def boundary_distance(search: Search, starts: Float[Tensor, "n q d"], tolerance: float) -> Asks:
    """Bisect towards each start sample of class k; the smallest distance found stands.

    Args:
        search: the ledger of the block.
        starts: Q start samples a pair, nearest first, each *decided* k by the teacher (its label is not enough: the
            bisection's premise is that its far end lies in class k). NaN rows mean that a pair has fewer.
        tolerance: relative width of the final bracket.

    Notes:
        The paper draws its start samples at random. Nearest first, a start that is not decided k at the distance
        already known costs one query and is left, since its own crossing lies farther (along that ray).
    """
    images = search.pairs.images
    everyone = torch.arange(len(search.pairs), device=search.device)
    for start in starts.unbind(dim=1):
        rows = everyone[torch.isfinite(start[:, 0])]
        segment = start[rows] - images[rows]
        length = row_norm(segment)
        known = length <= search.distance[rows]
        search.know(rows[known], start[rows[known]])
        reach = torch.minimum(length, search.distance[rows])
        directions = segment / length[:, None]
        probed = ~known & search.affordable(1)[rows]
        known[probed] = yield from search.along(rows[probed], directions[probed], reach[probed])
        zero = torch.zeros_like(reach[known])
        yield from bisect(search, rows[known], directions[known], zero, reach[known], tolerance)
