"""The searches of some samples as blocks of pairs."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64

from db3.errors import BudgetSpent, DataError
from db3.pixels import to_bytes, to_floats
from db3.search.boundary_points import NearestPoints
from db3.search.catalogue import SearchSettings, asks_of
from db3.search.distances import Distances
from db3.search.ledger import Asks, Log, Pairs, Search
from db3.search.queried_images import QueriedImages
from db3.search.starts import nearest_starts
from db3.teachers.base import TeacherSpec
from db3.types import TransferImages

# Both bound memory. Results do not depend on them; the order of the journal does.
_PAIRS_PER_SEARCH = 512
_VALUES_PER_BLOCK = 2**24  # pixels that a block's ledger holds: 64 MiB as float32

Starts = tuple[Int64[np.ndarray, "r k q"], Float32[np.ndarray, "r k q"]]


class Blocks:
    """The searches of r samples, a block of pairs each: begun one by one, only their results kept.

    Attributes:
        queried_images: chooses among the images asked.

    Args:
        spec: of the teacher.
        pool: all samples.
        rows: the samples to search.
        settings: how.
        device: where the searches compute.

    Raises:
        DataError: the pool's images are of another shape than the teacher's, or its bounds are not [0, 1].
    """

    def __init__(
        self,
        spec: TeacherSpec,
        pool: TransferImages,
        rows: range,
        settings: SearchSettings,
        device: str | torch.device = "cpu",
    ) -> None:
        check_pool(spec, pool)
        self._spec, self._pool, self._rows, self._settings = spec, pool, rows, settings
        self._device = torch.device(device)
        decisions = pool.decisions[rows.start : rows.stop]
        self._row, self._class = np.nonzero(np.arange(spec.classes) != decisions[:, None])
        shape = (len(rows), spec.classes)
        self._distances = np.full(shape, np.inf, np.float32)
        self._distances[np.arange(len(rows)), decisions] = 0
        self._asked = np.zeros(shape, np.int32)
        self._unfinished = np.zeros(shape, np.bool_)
        self._at = np.repeat(self._distances[None], len(settings.checkpoints), axis=0)
        self._points = NearestPoints(len(rows), min(settings.points, spec.classes - 1), spec.input_shape)
        self.queried_images = QueriedImages(settings.queried_images, spec.input_shape, settings.seed)

    def __len__(self) -> int:
        """Pairs of all blocks."""
        return len(self._row)

    def parts(self) -> Iterator[slice]:
        """The blocks: places among all pairs, which come sample by sample, their classes in order."""
        values = int(np.prod(self._spec.input_shape)) * (3 + self._settings.starts)  # sample, best, an ask, starts
        size = min(_PAIRS_PER_SEARCH, max(1, _VALUES_PER_BLOCK // values))
        return (slice(start, min(start + size, len(self))) for start in range(0, len(self), size))

    def search(self, part: slice) -> Search:
        """A ledger of the block's pairs, nothing asked yet."""
        sample = self._row[part] + self._rows.start
        pairs = Pairs(
            images=self._pixels(sample),
            decisions=self._here(self._pool.decisions[sample]),
            targets=self._here(self._class[part]),
            samples=self._here(sample),
            shape=self._spec.input_shape,
            bounds=self._spec.bounds,
        )
        how = self._settings
        return Search(pairs, how.budget, how.checkpoints, levels=self._spec.levels, absolute=how.absolute)

    def starts(self, part: slice) -> Float[torch.Tensor, "n q d"]:
        """The nearest samples decided as each pair's class, nearest first; NaN where there are fewer."""
        index, _ = self.nearest
        chosen = index[self._row[part], self._class[part]]
        starts = self._pixels(chosen.clip(min=0))
        starts[self._here(chosen < 0)] = torch.nan
        return starts

    def _pixels(self, samples: Int64[np.ndarray, "*n"]) -> Float[torch.Tensor, "*n d"]:
        return to_floats(self._here(self._pool.images[samples].reshape(*samples.shape, -1)))

    def _here(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)

    @cached_property
    def nearest(self) -> Starts:
        """The start samples of every pair and how far they are, see `nearest_starts`; none where nothing is searched.

        An earlier phase's may be set instead: they are the same.
        """
        images, classes = self._pool.images[self._rows.start : self._rows.stop], self._spec.classes
        if self._settings.method == "none":
            none = (len(images), classes, 0)
            return np.empty(none, np.int64), np.empty(none, np.float32)
        return nearest_starts(images, self._pool.images, self._pool.decisions, classes, self._settings.starts)

    def asks(self) -> Iterator[Asks]:
        """A search for each block, from its first ask to its results; its images live no longer than that."""
        return iter(()) if self._settings.method == "none" else (self._asks(part) for part in self.parts())

    def _asks(self, part: slice) -> Asks:
        search = self.search(part)
        if self._settings.queried_images:
            search.log = Log(search.pairs)
        finished = True
        try:
            yield from asks_of(search, self.starts(part), self._settings)
        except BudgetSpent:
            finished = False
        self.keep(search, part, finished)
        if search.log:
            self.queried_images.offer_log(search.log)

    def keep(self, search: Search, part: slice, finished: bool = True) -> None:
        """Take over what a search has found, ended by itself or by the teacher's refusal."""
        row, k = self._row[part], self._class[part]
        distance = search.distance.cpu().numpy()
        self._distances[row, k], self._asked[row, k] = distance, search.asked.cpu().numpy()
        self._unfinished[row, k] = search.affordable(1).cpu().numpy() & (not finished)
        self._at[:, row, k] = search.curve.T.cpu().numpy()
        points = to_bytes(search.best, self._spec.bounds).cpu().numpy()
        self._points.offer(row, k, distance, points, (search.distance < search.given).cpu().numpy())

    def collect(self, answers: Int64[np.ndarray, " a"]) -> Distances:
        points, pairs = self._points.flat(self._rows.start)
        chosen = self.queried_images.read()
        found = self._distances, self._asked, self._at, answers, points, pairs, *chosen, self._unfinished
        return Distances(*found, *self.nearest)


def check_pool(spec: TeacherSpec, pool: TransferImages) -> None:
    """Refuse a pool and a teacher that do not speak of the same images."""
    if pool.images.shape[1:] != spec.input_shape:
        raise DataError(
            f"the pool's images have the shape {list(pool.images.shape[1:])}, the teacher's {list(spec.input_shape)} "
            "(C, H, W): take the samples that were drawn for this teacher"
        )
    if spec.bounds != (0.0, 1.0):  # pixels are uint8 / 255, and distances are compared in that unit
        raise DataError(
            f"the teacher's bounds are [{spec.bounds[0]:g}, {spec.bounds[1]:g}], but a search asks images in [0, 1]: "
            "scale the pixels inside the adapter"
        )
