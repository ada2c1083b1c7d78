"""Maxima and sums over everything that shares a batch: one process, or several.

A maximum and a sum of integers do not depend on how a batch is spread over processes. So each rounds to the grid of
the whole batch's largest value, sums what is its own, and adds up the sums.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch.distributed as dist
from torch import Tensor

from db3.errors import ConfigError

_STATE = threading.local()


@runtime_checkable
class Reduce(Protocol):
    """What a group of processes answers; every process asks the same questions in the same order."""

    def whole(self, length: int) -> int:
        """Rows of the whole batch in a tensor that has `length` rows of this process's images."""
        ...

    def largest(self, values: Tensor) -> Tensor:
        """The largest of each element over the processes."""
        ...

    def sum(self, values: Tensor) -> Tensor:
        """The sum of each element over the processes; integers times a power of two, so in any order."""
        ...


class Alone:
    """One process has the whole batch."""

    def whole(self, length: int) -> int:
        return length

    def largest(self, values: Tensor) -> Tensor:
        return values

    def sum(self, values: Tensor) -> Tensor:
        return values


@dataclass(frozen=True)
class GroupReduce:
    """Processes of a torch process group (gloo, NCCL) that have some images of every batch each.

    Attributes:
        own: images of this process.
        total: images of the whole batch.
        group: torch's; None: its default.
    """

    own: int
    total: int
    group: dist.ProcessGroup | None = None  # type: ignore[name-defined, unused-ignore]

    def whole(self, length: int) -> int:
        """See `Reduce`.

        Raises:
            ConfigError: the rows are not those of the images.
        """
        each, over = divmod(length, self.own) if self.own else (0, length)
        if over or (self.own and not each):
            raise ConfigError(
                f"exact arithmetic sums {length} rows of {self.own} images; expected the images along the first axis: "
                "train this network in one process"
            )
        return (each or 1) * self.total

    def largest(self, values: Tensor) -> Tensor:
        result = values.clone()
        dist.all_reduce(result, dist.ReduceOp.MAX, group=self.group)
        return result

    def sum(self, values: Tensor) -> Tensor:
        result = values.contiguous().clone()
        dist.all_reduce(result, dist.ReduceOp.SUM, group=self.group)
        return result


ALONE: Reduce = Alone()


def current() -> Reduce:
    """The reduction of the innermost `reducing` of this thread."""
    found: Reduce = getattr(_STATE, "reduce", ALONE)
    return found


@contextmanager
def reducing(reduce: Reduce) -> Iterator[None]:
    """Layers in training take maxima and sums over these processes; their backward passes too, whenever they run."""
    before = current()
    _STATE.reduce = reduce
    try:
        yield
    finally:
        _STATE.reduce = before
