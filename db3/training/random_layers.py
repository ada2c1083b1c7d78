"""Random layers with a generator of their own, so that trainings in several threads never share a random stream."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name every PyTorch reader knows
from torch import Tensor
from torch.overrides import TorchFunctionMode

from db3.errors import ConfigError
from db3.rng import Purpose, generator
from db3.training.ranks import Rows

_REFUSED = {
    F.dropout1d,
    F.dropout2d,
    F.dropout3d,
    F.alpha_dropout,
    F.feature_alpha_dropout,
    F.rrelu,
    torch.rand,
    torch.randn,
    torch.rand_like,
    torch.randn_like,
    torch.bernoulli,
    torch.randperm,
}


class KeyedRandomness(TorchFunctionMode):
    """While active, random layers draw from a generator keyed by the seed.

    torch's layers draw from one generator per process: two trainings at once would take numbers from each other, and
    forking that generator (`torch.random.fork_rng`) is process-wide too. A function mode belongs to the thread that
    entered it. It serves `torch.nn.Dropout` and torchvision's `StochasticDepth`, which are all that torchvision's
    classifiers use, in any network and without changing it. Numbers are drawn on the CPU, hence the same for every
    device. Other random functions are refused rather than left to the shared generator.

    Args:
        seed: of the generator.
        rows: the images that this process has of every batch: it draws the numbers of all and takes theirs, so that an
            image is treated alike however many processes share the batch. None: all.

    Raises:
        ConfigError: when the network calls a random function that is not served.
    """

    def __init__(self, seed: int, rows: Rows | None = None) -> None:
        super().__init__()
        self._generator = generator(seed, Purpose.DROPOUT)
        self._rows = None if rows is None or rows.all else rows

    @property
    def state(self) -> Tensor:
        """Where the generator stands: bytes."""
        return self._generator.get_state()

    @state.setter
    def state(self, state: Tensor) -> None:
        self._generator.set_state(state)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.dropout:
            return self._dropout(*args, **(kwargs or {}))
        if func is Tensor.bernoulli_:
            return self._bernoulli(*args, **(kwargs or {}))
        if func in _REFUSED:
            raise ConfigError(
                f"the network draws random numbers with torch's {func.__name__}, which no seed of ours reaches; "
                "expected dropout or stochastic depth: exchange the layer for torch.nn.Dropout"
            )
        return func(*args, **(kwargs or {}))

    def _dropout(self, values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        """Zero each value with probability p and scale the others by 1 / (1 − p), as torch's own does."""
        if not training or p == 0:
            return values
        kept = self._bernoulli(torch.empty_like(values), 1 - p)
        if p < 1:
            kept.div_(1 - p)
        return values.mul_(kept) if inplace else values * kept

    def _bernoulli(self, target: Tensor, p: float = 0.5) -> Tensor:
        length, first = (len(target), 0) if self._rows is None else self._place(self._rows, len(target))
        drawn = torch.empty((length, *target.shape[1:]), dtype=target.dtype).bernoulli_(p, generator=self._generator)
        return target.copy_(drawn[first : first + len(target)])

    @staticmethod
    def _place(rows: Rows, length: int) -> tuple[int, int]:
        """Rows of the whole batch in a tensor that has `length` of these images, and the first of theirs."""
        each = rows.require_each(length, "the network draws random numbers for")
        return each * rows.total, each * rows.start
