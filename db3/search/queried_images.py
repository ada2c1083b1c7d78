"""Images that searches asked, with their decisions: samples that are paid for already."""

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8

from db3.rng import Purpose, uniform
from db3.search.ledger import Log
from db3.teachers.base import ImageShape


class QueriedImages:
    """At most `most` asked images of each sample, chosen at random by (seed, sample, class, place).

    The choice depends on which images were asked, never on the order they are offered in. Images are kept at 1/255.

    Args:
        most: images a sample; 0 keeps none.
        shape: (C, H, W).
        seed: of the choice.
    """

    def __init__(self, maximum: int, shape: ImageShape, seed: int) -> None:
        self._maximum, self._shape, self._seed = maximum, shape, seed
        self._keys = np.empty((0, 3), np.int64)
        self._priority = np.empty(0, np.float32)
        self._images = np.empty((0, int(np.prod(shape))), np.uint8)
        self._decisions = np.empty(0, np.int64)

    def offer_log(self, log: Log) -> None:
        keys, images, decisions = log.read()
        self.offer(keys.cpu().numpy(), images.cpu().numpy(), decisions.cpu().numpy())

    def offer(
        self,
        keys: Int64[np.ndarray, "m 3"],
        images: UInt8[np.ndarray, "m d"],
        decisions: Int64[np.ndarray, " m"],
    ) -> None:
        """Take part in the choice: (sample, class, place) of each image, its pixels and its decision."""
        if not self._maximum or not len(keys):
            return
        keys = np.concatenate([self._keys, keys])
        priority = np.concatenate([self._priority, self._drawn(keys[len(self._keys) :])])
        order = np.lexsort((keys[:, 2], keys[:, 1], priority, keys[:, 0]))
        sample = keys[order, 0]
        first = np.flatnonzero(np.diff(sample, prepend=-1))
        rank = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
        kept = order[rank < self._maximum]
        old, new = kept[kept < len(self._keys)], kept[kept >= len(self._keys)] - len(self._keys)
        self._images = np.concatenate([self._images[old], images[new]])
        self._decisions = np.concatenate([self._decisions[old], decisions[new]])
        kept = np.concatenate([old, new + len(self._keys)])
        self._keys, self._priority = keys[kept], priority[kept]

    def _drawn(self, keys: Int64[np.ndarray, "m 3"]) -> Float32[np.ndarray, " m"]:
        sample, target, place = torch.from_numpy(keys).unbind(dim=1)
        drawn: Float32[np.ndarray, "m 1"] = uniform(self._seed, Purpose.QUERIED_IMAGE, place, target, sample, 1).numpy()
        return drawn[:, 0]

    def read(self) -> tuple[UInt8[np.ndarray, "a c h w"], Int64[np.ndarray, " a"], Int64[np.ndarray, "a 3"]]:
        """The images kept, the decision on each, and its (sample, class, place), by which they are ordered."""
        order = np.lexsort((self._keys[:, 2], self._keys[:, 1], self._keys[:, 0]))
        images = self._images[order].reshape(-1, *self._shape)
        return images, self._decisions[order], self._keys[order]
