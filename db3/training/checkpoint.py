"""A training that was killed goes on: its state is kept now and then, and the next training of that key begins there.

The bytes are those of a training that nothing disturbed. A file is a shard's (`db3.shard_store`): no pickle, whole or
absent, sealed with its key.
"""

import time
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from db3.shard_store import ShardStore


@dataclass
class Course:
    """How far a training has come.

    Attributes:
        step: steps done.
        rows: of the history: steps done, mean loss, learning rate.
        agreement: highest on the held-out part; −1: none measured.
        best: the weights that had it.
    """

    step: int = 0
    rows: list[tuple[int, float, float]] = field(default_factory=list)
    agreement: float = -1.0
    best: dict[str, Tensor] | None = None


class Checkpoint:
    """Where a training keeps its state.

    Args:
        store: of the files.
        key: a digest of all that decides the training, the source code and the machine included.

    Attributes:
        pause: seconds between two writes at least. A kill costs that much, or a fiftieth of the training.
    """

    pause = 60.0

    def __init__(self, store: ShardStore, key: str) -> None:
        self._store, self._key, self._last = store, key, time.monotonic()

    def begun(self) -> int:
        """Steps done by an earlier training; 0: none."""
        found = self._store.get(self._key)
        return 0 if found is None else int(found["step"])

    def read(self) -> tuple[Course, dict[str, Tensor]] | None:
        """How far an earlier training came, and its learner's state."""
        found = self._store.get(self._key)
        if found is None:
            return None
        tensors = {name: torch.from_numpy(array) for name, array in found.items()}
        rows = [(int(step), loss, lr) for step, loss, lr in found["rows"].tolist()]
        course = Course(int(found["step"]), rows, float(found["agreement"]), _below("best.", tensors) or None)
        return course, _below("learner.", tensors)

    def due(self) -> bool:
        """Whether the last write was long enough ago."""
        return time.monotonic() - self._last >= self.pause

    def write(self, course: Course, state: dict[str, Tensor]) -> None:
        """Replace what was kept.

        Raises:
            DataError: it cannot be written.
        """
        named = {f"learner.{name}": tensor for name, tensor in state.items()}
        named |= {f"best.{name}": tensor for name, tensor in (course.best or {}).items()}
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in named.items()}
        told = {"step": course.step, "agreement": course.agreement}
        rows = np.array(course.rows, np.float64).reshape(-1, 3)
        self._store.put(self._key, {**arrays, **{name: np.array(value) for name, value in told.items()}, "rows": rows})
        self._last = time.monotonic()

    def remove(self) -> None:
        """Forget it: what the training was for is on the disk."""
        self._store.path(self._key).unlink(missing_ok=True)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
