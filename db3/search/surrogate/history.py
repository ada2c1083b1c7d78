"""The answers of each pair, in the form that its posterior needs: filled from the search's log as it grows."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from db3.arithmetic.sums import row_sum
from db3.search.ledger import Log, Search
from db3.search.surrogate.surrogate import Surrogate


class Answered(NamedTuple):
    """The answers of r pairs, q each at most.

    Attributes:
        answers: +1 decided k, −1 not, 0 none.
        margins: the surrogate's.
        places: coordinates.
        squared: distance of each image from its pair's best boundary point, squared.
    """

    answers: Float[Tensor, "r q"]
    margins: Float[Tensor, "r q"]
    places: Float[Tensor, "r q p"]
    squared: Float[Tensor, "r q"]


class History:
    """The last `room` answers of every pair of a search.

    Args:
        search: its log is read; one is begun where there is none.
        surrogate: gives each image's margin and coordinates.
        room: answers kept a pair; older ones make way.

    Attributes:
        images: uint8 [n, room, D], at 1/255 of the bounds' span.
        answers: float32 [n, room], +1 decided k, −1 not, 0 none.
        margins: float32 [n, room], the surrogate's.
        places: float32 [n, room, p], coordinates.
    """

    def __init__(self, search: Search, surrogate: Surrogate, room: int) -> None:
        count, width = search.pairs.images.shape
        search.log = search.log or Log(search.pairs)
        self._search, self._log, self._surrogate, self._room = search, search.log, surrogate, room
        self._read = 0
        device = search.device
        self._counts = torch.zeros(count, dtype=torch.int64, device=device)
        self.images: UInt8[Tensor, "n q d"] = torch.zeros(count, room, width, dtype=torch.uint8, device=device)
        self.answers: Float[Tensor, "n q"] = torch.zeros(count, room, device=device)
        self.margins: Float[Tensor, "n q"] = torch.zeros(count, room, device=device)
        self.places: Float[Tensor, "n q p"] = torch.zeros(count, room, len(surrogate.basis), device=device)

    def update(self) -> None:
        """Take in what the log has gained."""
        keys, levels, decisions = self._log.read(self._read)
        self._read = self._log.parts
        if not len(keys):
            return
        rows, keys = self._rows(keys)
        # In the order of (pair, place): the order of asking within a pair, however pairs were asked together.
        order = keys[:, 2].argsort(stable=True)
        order = order[rows[order].argsort(stable=True)]
        rows, levels, decisions = rows[order], levels[order], decisions[order]
        later = torch.zeros_like(self._counts).index_add_(0, rows, torch.ones_like(rows))
        first = later.cumsum(0) - later
        place = self._counts[rows] + torch.arange(len(rows), device=rows.device) - first[rows]
        kept = place >= (self._counts + later)[rows] - self._room
        rows, place, levels, decisions = rows[kept], place[kept] % self._room, levels[kept], decisions[kept]
        targets = self._search.pairs.targets[rows]
        pixels = self._surrogate.pixels(levels)
        self.images[rows, place] = levels
        self.answers[rows, place] = torch.where(decisions == targets, 1.0, -1.0)
        self.margins[rows, place] = self._surrogate.value(pixels, targets)
        self.places[rows, place] = self._surrogate.coordinates(pixels)
        self._counts += later

    def _rows(self, keys: Int[Tensor, "m 3"]) -> tuple[Int[Tensor, " m"], Int[Tensor, "m 3"]]:
        """The pair that asked each image, by its (sample, class)."""
        pairs = self._search.pairs
        classes = int(pairs.targets.max()) + 1
        mine = pairs.samples * classes + pairs.targets
        order = mine.argsort()
        place = torch.searchsorted(mine[order], keys[:, 0] * classes + keys[:, 1])
        return order[place], keys

    def of(self, rows: Int[Tensor, " r"]) -> Answered:
        """What these pairs have answered."""
        kept = slice(int(self._counts[rows].clamp(max=self._room).max()))  # the rest is empty
        step = self._surrogate.pixels(self.images[rows, kept]) - self._search.best[rows][:, None]
        return Answered(
            self.answers[rows, kept], self.margins[rows, kept], self.places[rows, kept], row_sum(step * step)
        )
