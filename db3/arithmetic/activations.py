"""Activations with exact gradients; those made of single operations take autograd's, which are such operations too."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.autograd.function import once_differentiable

from db3.arithmetic import functions

Activation = Callable[[Tensor], Tensor]


def relu(values: Tensor) -> Tensor:
    """max(x, 0); of a negative zero it makes +0, which torch's relu leaves to the kernel."""
    return F.threshold(values, 0.0, 0.0)


def relu6(values: Tensor) -> Tensor:
    """min(max(x, 0), 6)."""
    return _Clip.apply(values, 0.0, 6.0)  # type: ignore[no-any-return]


def leaky_relu(values: Tensor, slope: float) -> Tensor:
    """X, or slope · x where x is negative."""
    return values * torch.where(values > 0, 1.0, slope).detach()


def hardsigmoid(values: Tensor) -> Tensor:
    """relu6(x + 3) / 6."""
    return functions.divide(relu6(values + 3.0), 6.0)


def hardswish(values: Tensor) -> Tensor:
    """X · relu6(x + 3) / 6."""
    return values * hardsigmoid(values)


def sigmoid(values: Tensor) -> Tensor:
    """1 / (1 + e^−x)."""
    return _Sigmoid.apply(values)  # type: ignore[no-any-return]


def silu(values: Tensor) -> Tensor:
    """X · sigmoid(x)."""
    return values * sigmoid(values)


def tanh(values: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return _Tanh.apply(values)  # type: ignore[no-any-return]


class _Clip(torch.autograd.Function):
    """Between two bounds; no gradient at them or outside, as torch's relu6 has it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward((values > low) & (values < high))
        clipped = torch.where(values >= high, high, values)
        return torch.where(values <= low, low, clipped)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return torch.where(inside, gradients[0], 0.0), None, None


class _Sigmoid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        result = functions.sigmoid(values)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        inner: Tensor = gradients[0] * ((1 - result) * result)
        return inner


class _Tanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        result = functions.tanh(values)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        inner: Tensor = gradients[0] * (1 - result * result)
        return inner
