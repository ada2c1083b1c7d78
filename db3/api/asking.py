"""A teacher and the work that asks it: each finished piece is kept in a folder, and what it has asked beside it."""

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from db3.digest import digest_json
from db3.errors import BudgetSpent
from db3.shard_store import Arrays, Shards, ShardStore
from db3.teachers.budget import TOKENS, Budget
from db3.work import Work

COUNTED = ("asked", "votes", "compared", "changed", *TOKENS)


class Asking:
    """A teacher, and the runner (`db3.work`) of what asks it, or nobody: what was finished is not computed again.

    A piece that the budget ended is not kept, since a larger budget makes another one of it; its answers are.

    Args:
        teacher: within its budget.
        store: of finished pieces.
        device: where the work computes.
        threads: of torch.

    Attributes:
        spec: of the teacher.
        counts: of all pieces so far, those found in the store included (`db3.teachers.budget.COUNTS`).
    """

    def __init__(self, teacher: Budget, store: ShardStore, device: str = "cpu", threads: int = 1) -> None:
        self.spec, self._teacher, self._store, self._machine = teacher.spec, teacher, store, (device, threads)
        self.counts, self._refused = dict.fromkeys(COUNTED, 0), False

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """Top-1 class of each image."""
        try:
            return self._teacher.decide(images)
        except BudgetSpent:
            self._refused = True
            raise

    def run(self, work: Work) -> Shards | list[Arrays]:
        """Bring the pieces of a work about, one after the other."""
        keys, self._refused = work.keys_on(*self._machine), False
        ended: dict[int, Arrays] = {}
        known = sum(self._bring_about(work, index, key, ended) for index, key in enumerate(keys))
        kept = Shards(work.name, keys, self._store, known)
        return [ended[index] if index in ended else kept[index] for index in range(len(keys))] if ended else kept

    def _bring_about(self, work: Work, index: int, key: str, ended: dict[int, Arrays]) -> bool:
        """Compute and keep a piece, or put it into `ended` where the budget ended it; whether it was there already."""
        beside = digest_json([key, "counts"])
        counts = self._store.get(beside)
        known = counts is not None and key in self._store
        if counts is None or not known:
            before = self._teacher.costs.counts()
            found = work.compute(index)
            after = self._teacher.costs.counts()
            counts = {name: np.array(after[name] - before[name], np.int64) for name in COUNTED}
            if self._refused:
                ended[index] = found
            else:
                self._store.put(key, found)
                self._store.put(beside, counts)
        for name in COUNTED:
            self.counts[name] += int(counts.get(name, 0))  # older ones know fewer
        return known
