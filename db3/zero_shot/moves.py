"""Moves away from the nearest boundary (Wang, ICML 2021, section 4): what turns start images into pseudo samples.

One iteration of a sample x decided m: search its nearest boundary point b (untargeted), go the other way,
x' = clamp(x − ξ·(b − x)/‖b − x‖), and keep x' if it is still decided m; else halve ξ and ask again. So the margin
‖b − x‖ grows by about ξ an iteration as long as no other boundary is in the way.

Notes:
    Every state is a stored image: x' is rounded to uint8 before its decision is asked, and what was asked is kept. So
    the decision is that of the stored image at every iteration, and a run may end at any of them. Rounding moves an
    image by 0.03 at 1×28×28, 0.06 at 3×32×32, beside ξ = 0.5; a step that rounds to no change is not asked.
    ξ is each sample's own, and is back at its full length in the next iteration. The boundary point found is the first
    one known to the next search.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int32, Int64, UInt8
from torch import Tensor

from db3.pixels import to_bytes, to_floats
from db3.search.ledger import Asks, Pairs, Search
from db3.search.methods.untargeted import Descent, untargeted_boundary
from db3.settings.declare import Doc, Ge, settings
from db3.settings.samples import MoveSettings
from db3.teachers.base import TeacherSpec
from db3.types import TransferImages


@settings
class Moves(MoveSettings):
    """How samples move: the parameters, and what no file sets."""

    halvings: Annotated[int, Ge(0), Doc("how often a move is halved where the decision would flip")] = 3
    starts: Annotated[int, Ge(1), Doc("other classes of which the nearest start image is looked at in each search")] = 3
    descent: Annotated[Descent, Doc("how directions are improved")] = Descent()

    def plan(self, budget: int) -> list[int]:
        """Queries of each search such that all searches and moves of a sample cost `budget` at most.

        The budget is spread evenly over the iterations; where that leaves too little for a search there are fewer.
        """
        moving = 1 + self.halvings
        minimum = self.descent.minimum if self.queries is None else min(self.queries, self.descent.minimum)
        iterations = min(self.iterations, budget // (minimum + moving))
        if not iterations:
            return []
        queries = budget // iterations - moving
        return [queries if self.queries is None else min(queries, self.queries)] * iterations


@dataclass(frozen=True)
class Moved:
    """Samples after their moves.

    Attributes:
        images: as decided last.
        margins: distance to the nearest boundary point found, before each iteration's move; +inf where none was.
        searched: queries of each search.
        moved: queries of each move.
        snapshots: the pictured samples, at the start and after every so many iterations.
    """

    images: UInt8[np.ndarray, "r c h w"]
    margins: Float32[np.ndarray, "i r"]
    searched: Int32[np.ndarray, "i r"]
    moved: Int32[np.ndarray, "i r"]
    snapshots: UInt8[np.ndarray, "s p c h w"]


class Block:
    """Some samples that move together; none of them depends on another.

    Args:
        spec: of the teacher.
        pool: all start images with their decisions.
        rows: which of them move.
        starts: for each row, images decided otherwise, nearest first; NaN where there are fewer.
        moves: how.
        plan: queries of each search.
        seed: of the random directions.
        pictured: which rows are kept in snapshots, as places in the pool.
        pictures: after how many iterations snapshots are taken, rising.
        device: where searches compute.
    """

    def __init__(
        self,
        spec: TeacherSpec,
        pool: TransferImages,
        rows: range,
        starts: Float[Tensor, "r q d"],
        moves: Moves,
        plan: Sequence[int],
        seed: int,
        pictured: Int64[np.ndarray, " p"],
        pictures: Sequence[int],
        device: str = "cpu",
    ) -> None:
        part = slice(rows.start, rows.stop)
        self._spec, self._moves, self._plan, self._seed = spec, moves, plan, seed
        self._levels = torch.from_numpy(np.array(pool.images[part])).flatten(1).to(device)
        self._decisions = torch.from_numpy(np.array(pool.decisions[part])).to(device)
        self._samples = torch.arange(rows.start, rows.stop, device=device)
        self._starts = starts.to(device)
        shape = (len(plan), len(rows))
        self._margins = np.full(shape, np.inf, np.float32)
        self._searched, self._moved = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        own = pictured[(pictured >= rows.start) & (pictured < rows.stop)] - rows.start
        self._pictured = torch.from_numpy(own).to(device)
        self._pictures, self._snapshots = pictures, [self._levels[self._pictured]]

    def asks(self) -> Asks:
        """All iterations of all rows."""
        known = torch.full(self._levels.shape, torch.nan, device=self._levels.device)
        for iteration, queries in enumerate(self._plan):
            search = self._search(iteration, queries)
            yield from untargeted_boundary(search, known, self._starts, self._seed, self._moves.descent)
            moved = yield from self._move(search)
            self._margins[iteration] = search.distance.cpu().numpy()
            self._searched[iteration], self._moved[iteration] = search.asked.cpu().numpy(), moved.cpu().numpy()
            known = torch.where(torch.isfinite(search.distance)[:, None], search.best, torch.nan)
            if iteration + 1 in self._pictures:
                self._snapshots.append(self._levels[self._pictured])

    def result(self) -> Moved:
        """What the samples have become."""
        shape = self._spec.input_shape
        images = self._levels.cpu().numpy().reshape(-1, *shape)
        snapshots = torch.stack(self._snapshots).cpu().numpy()
        return Moved(
            images, self._margins, self._searched, self._moved, snapshots.reshape(*snapshots.shape[:2], *shape)
        )

    def _search(self, iteration: int, queries: int) -> Search:
        pairs = Pairs(
            images=to_floats(self._levels),
            decisions=self._decisions,
            targets=torch.full_like(self._decisions, iteration),
            samples=self._samples,
            shape=self._spec.input_shape,
            bounds=self._spec.bounds,
            untargeted=True,
        )
        return Search(pairs, queries, levels=self._spec.levels)

    def _move(self, search: Search) -> Generator[Tensor, Tensor, Int[Tensor, " r"]]:
        """Move every sample whose boundary is known; return what each has asked."""
        asked = torch.zeros_like(search.asked)
        rows = (torch.isfinite(search.distance) & (search.distance > 0)).nonzero()[:, 0]
        away, step = -search.direction(rows), self._moves.step
        for _ in range(1 + self._moves.halvings):
            candidates = to_bytes((search.pairs.images[rows] + step * away).clamp(0, 1), self._spec.bounds)
            differs = (candidates != self._levels[rows]).any(dim=1)
            rows, away, candidates = rows[differs], away[differs], candidates[differs]
            if not len(rows):
                break
            decisions = yield to_floats(candidates)
            asked[rows] += 1
            same: Bool[Tensor, " _"] = decisions == self._decisions[rows]
            self._levels[rows[same]] = candidates[same]
            rows, away, step = rows[~same], away[~same], step / 2
        return asked
