"""Ask/tell: a search owns the state of its pairs, proposes images, and receives decisions.

A search is a Python generator. It yields images (float32 [m, D], already clipped to the bounds: exactly what the
teacher shall see) and receives int64 [m] decisions; it never calls a teacher. The driver packs the asks of many
searches into full teacher calls. A search keeps every pair apart: only element-wise operations and fixed-order row
sums (`db3.arithmetic.sums`) touch its state, so a pair's result is a function of (seed, sample, class, answers) alone,
whatever the packing, the order or the neighbours.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from db3.arithmetic.sums import row_norm
from db3.pixels import to_bytes
from db3.teachers.adapters.quantised import rounded
from db3.teachers.base import ImageShape

_TINY = 1e-12
_PROBE = 0.6  # of a level: a step from a level rounds to the next one from half a level on
# Pixels of one ask (2 MiB as float32): its arrays stay in the processor's cache. A GPU wants more work at a time.
_PIECE = {"cpu": 2**19, "cuda": 2**26}

Asks = Generator[Tensor, Tensor, None]
"""Yields images [m, D], receives decisions [m], returns when every pair is done."""


@dataclass(frozen=True)
class Pairs:
    """A block of boundary searches: n pairs (sample, other class).

    Attributes:
        images: float32 [n, D], the samples, flattened (a sample stands once per pair).
        decisions: int64 [n], the teacher's decision m on each sample.
        targets: int64 [n], the other class k ≠ m; with `untargeted`, any number that keys the pair's randomness.
        samples: int64 [n], the sample's place in the transfer set: with the class, the identity that keys randomness.
        shape: (C, H, W) behind D.
        bounds: smallest and largest pixel value.
        untargeted: the boundary sought is that to any class but m: every other decision is a hit.
    """

    images: Float[Tensor, "n d"]
    decisions: Int[Tensor, " n"]
    targets: Int[Tensor, " n"]
    samples: Int[Tensor, " n"]
    shape: ImageShape
    bounds: tuple[float, float] = (0.0, 1.0)
    untargeted: bool = False

    def __len__(self) -> int:
        return self.images.shape[0]

    def hits(self, rows: Int[Tensor, " r"], decisions: Int[Tensor, "r q"]) -> Bool[Tensor, "r q"]:
        """Which decisions lie beyond the boundary that each pair looks for."""
        if self.untargeted:
            return decisions != self.decisions[rows, None]
        return decisions == self.targets[rows, None]


class Log:
    """Images asked and their decisions, kept at 1/255 of the bounds' span (a quarter of the memory; not for replay)."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(
        self,
        rows: Int[Tensor, " r"],
        asked: Int[Tensor, " r"],
        points: Float[Tensor, "r q d"],
        decisions: Int[Tensor, "r q"],
    ) -> None:
        """Keep q answers of each pair; `asked` counts them in."""
        count = points.shape[1]
        places = asked[:, None] - count + torch.arange(count, device=points.device)
        keys = torch.stack([v[rows, None].expand(-1, count) for v in (self._pairs.samples, self._pairs.targets)], -1)
        keys = torch.cat([keys, places[..., None]], -1).flatten(0, 1)
        levels = to_bytes(points.flatten(0, 1), self._pairs.bounds)
        self._parts.append((keys, levels, decisions.flatten()))

    def extend(self, keys: Int[Tensor, "m 3"], levels: UInt8[Tensor, "m d"], decisions: Int[Tensor, " m"]) -> None:
        """Take in what another log has read out."""
        self._parts.append((keys, levels, decisions))

    @property
    def parts(self) -> int:
        """How often something was taken in."""
        return len(self._parts)

    def read(self, first: int = 0) -> tuple[Int[Tensor, "m 3"], UInt8[Tensor, "m d"], Int[Tensor, " m"]]:
        """(sample, class, place) of each answer, the image in 0 … 255, the decision.

        Args:
            first: the part to begin with.
        """
        if first >= len(self._parts):
            images = self._pairs.images
            empty = images.new_empty(0, dtype=torch.int64)
            return empty.view(0, 3), images.new_empty(0, images.shape[1], dtype=torch.uint8), empty
        keys, levels, decisions = zip(*self._parts[first:], strict=True)
        return torch.cat(keys), torch.cat(levels), torch.cat(decisions)


class Search:
    """The ledger of one block: what each pair has asked, and the best boundary point it knows.

    Every image asked goes through `ask`, so queries are counted where they arise and each hit (an image decided as the
    pair's class k) competes for the best: the search is anytime. A distance is always that of the clipped image, since
    that is what the teacher saw.

    Args:
        pairs: the block.
        budget: queries a pair at most.
        checkpoints: numbers of queries at which `curve` keeps the distance.
        levels: the teacher sees so many pixel values, 256 for uint8; 0: any float32. Every image is then rounded to
            a level before it is asked, and distances are those of the rounded image.
        absolute: a bracket as narrow as this is closed, whatever its relative width.

    Attributes:
        best: float32 [n, D], the nearest image known to be decided k.
        distance: float32 [n], its L2 distance from the sample; +inf where none is known.
        given: float32 [n], the distance known without a query; +inf where nothing was.
        asked: int64 [n], queries asked by each pair.
        curve: float32 [n, T], the distance known after `checkpoints[t]` queries.
        log: where every image asked is kept for the surrogates to learn from; None: nowhere.
        pixel: distance between two levels, 0 where every float32 is seen.
        device: that of the pairs' images, where everything here is computed.
    """

    def __init__(
        self, pairs: Pairs, budget: int, checkpoints: Sequence[int] = (), levels: int = 0, absolute: float = 0.0
    ) -> None:
        low, high = pairs.bounds
        self.pairs = pairs
        self.budget = budget
        self.pixel = (high - low) / (levels - 1) if levels else 0.0
        self._levels, self._absolute = levels, absolute
        self.best = pairs.images.clone()
        self.device = pairs.images.device
        self.distance = torch.full((len(pairs),), torch.inf, device=self.device)
        self.given = self.distance.clone()
        self.asked = torch.zeros(len(pairs), dtype=torch.int64, device=self.device)
        self._checkpoints = torch.tensor(checkpoints, dtype=torch.int64, device=self.device)
        self.curve = torch.full((len(pairs), len(checkpoints)), torch.inf, device=self.device)
        self.log: Log | None = None

    def affordable(self, queries: int) -> Bool[Tensor, " n"]:
        """Which pairs can still pay this many queries."""
        return self.asked + queries <= self.budget

    def pieces(self, count: int, queries: int) -> list[slice]:
        """Cut `count` rows that ask `queries` images each into asks of bounded size, in order.

        A pair's answers, and their order, do not depend on the cut. No rows are one empty piece.
        """
        maximum = _PIECE.get(self.device.type, _PIECE["cpu"])
        size = max(1, maximum // max(1, queries * self.pairs.images.shape[1]))
        return [slice(start, start + size) for start in range(0, max(1, count), size)]

    def direction(self, rows: Int[Tensor, " r"]) -> Float[Tensor, "r d"]:
        """Unit directions from the samples to their best boundary points."""
        return (self.best[rows] - self.pairs.images[rows]) / self.distance[rows, None]

    def finest(self, directions: Float[Tensor, "r d"]) -> Float[Tensor, " r"]:
        """Width at which a bracket on each ray is closed whatever its relative width: the absolute tolerance, or the
        step at which no pixel moves by more than a level.
        """
        if not self._levels:
            return self.distance.new_full(directions.shape[:1], self._absolute)
        largest = directions.abs().amax(dim=1).clamp(min=_TINY)
        return (self.pixel / largest).clamp(min=self._absolute)

    @property
    def probe(self) -> float:
        """Least length of a random step in all pixels alike: shorter ones would be rounded away."""
        return _PROBE * self.pixel * math.sqrt(self.pairs.images.shape[1])

    def know(self, rows: Int[Tensor, " r"], points: Float[Tensor, "r d"]) -> None:
        """Record images already known to be decided k, such as verified start samples: costs no query."""
        distance = row_norm(points - self.pairs.images[rows])
        self.given[rows] = torch.minimum(self.given[rows], distance)
        self._offer(rows, points[:, None], distance[:, None])

    def along(
        self, rows: Int[Tensor, " r"], directions: Float[Tensor, "r d"], reach: Float[Tensor, " r"]
    ) -> Generator[Tensor, Tensor, Bool[Tensor, " r"]]:
        """Ask for the image at distance `reach` along each pair's direction: was it decided k? See `ask`."""
        images = self.pairs.images[rows]
        points = (directions * reach[:, None]).add_(images)
        return (yield from self._ask(rows, points[:, None], images[:, None]))[:, 0]

    def ask(
        self, rows: Int[Tensor, " r"], points: Float[Tensor, "r q d"]
    ) -> Generator[Tensor, Tensor, Bool[Tensor, "r q"]]:
        """Ask q images for each of the given pairs (each pair at most once in `rows`).

        Args:
            rows: pairs.
            points: images, taken over: they are clipped in place.

        Yields:
            The clipped images, [r·q, D].

        Returns:
            Whether each was decided as its pair's class k.
        """
        return (yield from self._ask(rows, points, self.pairs.images[rows, None]))

    def _ask(
        self, rows: Int[Tensor, " r"], points: Float[Tensor, "r q d"], images: Float[Tensor, "r 1 d"]
    ) -> Generator[Tensor, Tensor, Bool[Tensor, "r q"]]:
        if not rows.shape[0]:
            return torch.zeros(points.shape[:2], dtype=torch.bool, device=self.device)
        points = rounded(points.clamp_(*self.pairs.bounds), self.pairs.bounds, self._levels)
        decisions = (yield points.flatten(0, 1)).view(points.shape[:2])
        hit = self.pairs.hits(rows, decisions)
        asked = self.asked[rows] + points.shape[1]
        self.asked[rows] = asked
        if self.log is not None:
            self.log.add(rows, asked, points, decisions)
        self._offer(rows, points, row_norm(points - images).masked_fill_(~hit, torch.inf))
        return hit

    def _offer(self, rows: Int[Tensor, " r"], points: Float[Tensor, "r q d"], distance: Float[Tensor, "r q"]) -> None:
        nearest, which = distance.min(dim=1)
        better = (nearest < self.distance[rows]).nonzero()[:, 0]
        if not better.shape[0]:
            return
        improved, nearest = rows[better], nearest[better]
        self.distance[improved] = nearest
        self.best[improved] = points[better, which[better]]
        if self.curve.shape[1]:  # a pair that did not improve stands there with its distance already
            reached = self.asked[improved, None] <= self._checkpoints
            self.curve[improved] = torch.where(reached, nearest[:, None], self.curve[improved])
