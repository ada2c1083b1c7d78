"""AdamW, SGD and the learning rate's schedule as single IEEE operations on float64 weights."""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from db3.arithmetic.functions import cos, divide, sqrt

_BLOCK = 2**14  # 128 KiB


class AdamW:
    """AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019), as torch's.

    Args:
        parameters: float64, with gradients; those without are left alone.
        betas: decay of the gradients' and of the squares' mean.
        eps: added to the root.
        weight_decay: decoupled.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        self._parameters = list(parameters)
        self._betas, self._eps, self._weight_decay = betas, eps, weight_decay
        self._means = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._powers = [1.0, 1.0]  # of the betas, by multiplication: a C library's pow is not the same everywhere

    def zero_grad(self) -> None:
        """Forget the gradients."""
        _forget(self._parameters)

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One step at this learning rate."""
        (b1, b2), eps = self._betas, self._eps
        self._powers = [self._powers[0] * b1, self._powers[1] * b2]
        rate, rest = lr / (1 - self._powers[0]), 1 - self._powers[1]
        for weight, mean, square in zip(self._parameters, self._means, self._squares, strict=True):
            gradient = weight.grad
            if gradient is None:
                continue
            for w, g, m, s in _blocks(weight, gradient, mean, square):
                m.mul_(b1).add_(g * (1 - b1))
                s.mul_(b2).add_((g * g).mul_(1 - b2))
                root = sqrt(divide(s, rest)).add_(eps)
                w.mul_(1 - lr * self._weight_decay)
                w.sub_((m * rate).div_(root))

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on but the weights, by name; shared, not copied."""
        kept = {"mean": self._means, "square": self._squares}
        powers = torch.tensor(self._powers, dtype=torch.float64)
        return {f"{what}.{i}": each for what, tensors in kept.items() for i, each in enumerate(tensors)} | {
            "powers": powers
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        self._powers = state["powers"].tolist()
        for what, tensors in (("mean", self._means), ("square", self._squares)):
            for i, each in enumerate(tensors):
                each.copy_(state[f"{what}.{i}"])


class SGD:
    """Gradient descent with momentum and weight decay (in the gradient), as torch's.

    Args:
        parameters: float64, with gradients; those without are left alone.
        momentum: 0 … 1.
        weight_decay: added to the gradient, times the weight.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        self._parameters = list(parameters)
        self._momentum, self._weight_decay = momentum, weight_decay
        self._velocity: list[Tensor | None] = [None] * len(self._parameters)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        _forget(self._parameters)

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One step at this learning rate."""
        for place, weight in enumerate(self._parameters):
            if weight.grad is None:
                continue
            velocity, move = self._velocity[place], weight.grad + weight * self._weight_decay
            velocity = move if velocity is None else velocity.mul_(self._momentum).add_(move)
            self._velocity[place] = velocity
            weight.sub_(velocity * lr)


def warmup_cosine(steps: int, lr: float, warmup: int) -> list[float]:
    """Learning rate of every step: linear to `lr`, then half a cosine that would reach 0 at `steps`.

    Args:
        steps: of the training.
        lr: highest.
        warmup: steps of the linear part; half of the steps at most.
    """
    warmup = min(warmup, steps // 2)
    rising = [lr * (step + 1) / (warmup + 1) for step in range(warmup)]
    return rising + [lr * factor for factor in half_cosine(steps - warmup)]


def half_cosine(steps: int) -> list[float]:
    """½ + ½ cos(π · step / steps) for each step."""
    angles = divide(torch.arange(steps, dtype=torch.float64) * math.pi, max(1, steps))
    falling: list[float] = ((cos(angles) + 1) * 0.5).tolist()
    return falling


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of some elements of each at a time, which stay in a cache from one operation to the next."""
    if not all(tensor.is_contiguous() for tensor in tensors):
        return iter([tensors])
    return zip(*(torch.split(tensor.view(-1), _BLOCK) for tensor in tensors), strict=True)


def _forget(parameters: Iterable[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None
