"""SD, sample distance (paper, section 3): the distance to the nearest sample of the other class. Costs no query."""

import torch
from jaxtyping import Float
from torch import Tensor

from db3.search.ledger import Search


def sample_distance(search: Search, starts: Float[Tensor, "n q d"]) -> None:
    """d_k = min over the Q start samples of ‖x_k − x‖₂; pairs without a start sample (NaN rows) stay unreached."""
    everyone = torch.arange(len(search.pairs), device=search.device)
    for start in starts.unbind(dim=1):
        rows = everyone[torch.isfinite(start[:, 0])]
        search.know(rows, start[rows])
