"""Processes that train one network together: which images of a batch are whose, and sums over all of them.

The gradient of a batch is the sum over its images, so each process may compute that of some images: torch's
DistributedDataParallel adds them up, and every process takes the same step. Alone, nothing here touches
`torch.distributed`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from db3.errors import ConfigError
from db3.training.batches import Indices

# Running statistics are those of the whole batch in every process already. torch 2.15 has a new name for this.
_NAMES = signature(DistributedDataParallel).parameters
_BUFFERS_STAY: dict[str, Any] = {
    "forward_sync_buffers" if "forward_sync_buffers" in _NAMES else "broadcast_buffers": False
}


@dataclass(frozen=True)
class Rows:
    """The images start … stop − 1 of `total`.

    Attributes:
        start, stop, total: of the images of a batch, in its order.
    """

    start: int
    stop: int
    total: int

    @property
    def all(self) -> bool:
        """Whether these are the whole."""
        return self.stop - self.start == self.total

    def each(self, length: int) -> int:
        """How many rows an image has in a tensor of `length` rows of these images; 0 where that is no whole number."""
        rows, over = divmod(length, self.stop - self.start)
        return 0 if over else rows

    def require_each(self, length: int, what: str) -> int:
        """`each`, of which there has to be one at least.

        Args:
            length: of the tensor.
            what: is done with its rows, to begin the error with.

        Raises:
            ConfigError: the tensor's rows are not those of the images.
        """
        each = self.each(length)
        if not each:
            raise ConfigError(
                f"{what} {length} rows of {self.stop - self.start} images; expected the images along the first axis: "
                "train this network in one process"
            )
        return each


@dataclass(frozen=True)
class Rank:
    """One of `count` processes.

    Attributes:
        number: from 0; the default is the only one.
        count: of the processes, in torch's default process group where there are several.
    """

    number: int = 0
    count: int = 1

    def rows(self, total: int) -> Rows:
        """This process's of `total` images: numbers differ by one at most between the processes."""
        return Rows(total * self.number // self.count, total * (self.number + 1) // self.count, total)

    def share(self, chosen: Sequence[Indices]) -> list[Indices]:
        """This process's rows of the parts of a batch, the parts one after the other; of some parts maybe none."""
        mine, shared, first = self.rows(sum(map(len, chosen))), [], 0
        for rows in chosen:
            shared.append(rows[max(0, mine.start - first) : max(0, mine.stop - first)])
            first += len(rows)
        return shared

    def joined(self, network: nn.Module) -> nn.Module:
        """A network to call in its place: its backward pass sums the gradients over the processes."""
        if self.count == 1:
            return network
        device = next(network.parameters()).device
        devices = [device] if device.type == "cuda" else None
        joined = DistributedDataParallel(network, device_ids=devices, **_BUFFERS_STAY)
        joined.register_comm_hook(None, _sum)
        return joined

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, the same bits in each of them."""
        if self.count > 1:
            dist.all_reduce(values)
        return values


ALONE = Rank()


def _sum(_: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:  # type: ignore[name-defined]
    """In place of DDP's mean, which would round once more and weigh slices of different length alike.

    DDP refuses a hook whose annotations are not just these; torch's own types do not tell of `GradBucket`.
    """
    work: Any = dist.all_reduce(bucket.buffer(), async_op=True)
    summed: torch.futures.Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
    return summed
