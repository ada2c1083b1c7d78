"""The boundary points of each sample's nearest classes: what a search leaves besides distances."""

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from db3.teachers.base import ImageShape


class NearestPoints:
    """For each of r samples, the boundary points of its `count` nearest classes.

    Memory is r·count images, however many classes there are. The order in which pairs are offered does not matter.

    Attributes:
        images: uint8 [r, count, C, H, W], nearest first; zeros where there are fewer.
        classes: int64 [r, count], the class on the far side, −1 where there are fewer.
    """

    def __init__(self, rows: int, count: int, shape: ImageShape) -> None:
        self.images = np.zeros((rows, count, *shape), np.uint8)
        self.classes = np.full((rows, count), -1, np.int64)
        self._distances = np.full((rows, count), np.inf, np.float32)

    def offer(
        self,
        row: Int64[np.ndarray, " n"],
        targets: Int64[np.ndarray, " n"],
        distance: Float32[np.ndarray, " n"],
        points: UInt8[np.ndarray, "n d"],
        found: Bool[np.ndarray, " n"],
    ) -> None:
        """Take part in the choice with n pairs; those not `found` have no boundary point."""
        count = self.classes.shape[1]
        if not count:
            return
        for r in np.unique(row[found]):
            new = np.flatnonzero(found & (row == r))
            distances = np.concatenate([self._distances[r], distance[new]])
            classes = np.concatenate([self.classes[r], targets[new]])
            images = np.concatenate([self.images[r], points[new].reshape(-1, *self.images.shape[2:])])
            order = np.lexsort((classes, distances))[:count]
            self._distances[r], self.classes[r], self.images[r] = distances[order], classes[order], images[order]

    def flat(self, first: int) -> tuple[UInt8[np.ndarray, "p c h w"], Int64[np.ndarray, "p 2"]]:
        """All points, sample by sample, and their pairs (sample, class), samples counted from `first`."""
        row, place = np.nonzero(self.classes >= 0)
        return self.images[row, place], np.stack([row + first, self.classes[row, place]], axis=1)
