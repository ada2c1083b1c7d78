"""Batch normalisation, exactly: means over the whole batch are sums of integers, on a grid for each channel.

Source: Ioffe and Szegedy, "Batch Normalization", ICML 2015.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from db3.arithmetic.functions import divide, sqrt
from db3.arithmetic.grid import sum_channels
from db3.arithmetic.reduce import current
from db3.errors import ConfigError

Statistics = tuple[Float[Tensor, " c"], Float[Tensor, " c"], int]
"""Mean, variance (divided by the count), and the count of values a channel."""


def normalise_batch(
    values: Float[Tensor, "n c *rest"],
    weight: Float[Tensor, " c"] | None,
    bias: Float[Tensor, " c"] | None,
    *,
    eps: float,
    name: str = "batch norm",
) -> tuple[Float[Tensor, "n c *rest"], Statistics]:
    """Y = (x − μ) / √(σ² + ε) · w + b, with μ and σ² over the batch of all processes.

    Raises:
        ConfigError: one value a channel, of which nothing can be learnt.
        Db3Error: NaN, infinity or huge values.
    """
    count = current().whole(len(values)) * values[0, 0].numel()
    if count < 2:
        raise ConfigError(f"{name} has 1 value a channel in training; expected 2 or more: raise the batch")
    w, b = _affine(values, weight, bias)
    out, mean, variance = _Batch.apply(values, w, b, count, eps, name)
    return out, (mean, variance, count)


def normalise_running(
    values: Float[Tensor, "n c *rest"],
    mean: Float[Tensor, " c"],
    variance: Float[Tensor, " c"],
    weight: Float[Tensor, " c"] | None,
    bias: Float[Tensor, " c"] | None,
    *,
    eps: float,
    name: str = "batch norm",
) -> Float[Tensor, "n c *rest"]:
    """The same with running statistics: a function of each image alone."""
    w, b = _affine(values, weight, bias)
    result: Tensor = _Running.apply(values, mean, 1 / sqrt(variance + eps), w, b, name)
    return result


class _Batch(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, count: int, eps: float, name: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        reduce, view = current(), _view(x)
        mean = divide(sum_channels(x, count, name, "its inputs", reduce), count)
        centred = x - mean.view(view)
        variance = divide(sum_channels(centred * centred, count, name, "squares of its inputs", reduce), count)
        inverse = 1 / sqrt(variance + eps)
        out = centred * (inverse * weight).view(view)
        out.add_(bias.view(view))
        ctx.save_for_backward(centred, inverse, weight)
        ctx.count, ctx.name, ctx.reduce = count, name, reduce
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        g, (centred, inverse, weight), count = gradients[0], ctx.saved_tensors, ctx.count
        view = _view(centred)
        plain = sum_channels(g, count, ctx.name, "its gradients", ctx.reduce)
        along = sum_channels(g * centred, count, ctx.name, "its gradients", ctx.reduce) * inverse
        out = None
        if ctx.needs_input_grad[0]:
            # g − mean(g) − x̂ · mean(g · x̂), times the slope
            tilt = divide(along * inverse, count)
            out = g - divide(plain, count).view(view)
            out.sub_(centred * tilt.view(view))
            out.mul_((inverse * weight).view(view))
        return out, along, plain, None, None, None


class _Running(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, inverse: Tensor, weight: Tensor, bias: Tensor, name: str) -> Tensor:
        view = _view(x)
        slope = inverse * weight
        out = x - mean.view(view)
        keep = x if ctx.needs_input_grad[3] else x.new_empty(0)
        ctx.save_for_backward(keep, mean, inverse, slope)
        # Gradients of weights are those of the images at hand: the processes' sum, where there are some.
        ctx.name, ctx.reduce = name, current()
        return out.mul_(slope.view(view)).add_(bias.view(view))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        g, (x, mean, inverse, slope), reduce = gradients[0], ctx.saved_tensors, ctx.reduce
        view = _view(g)
        inner = g * slope.view(view) if ctx.needs_input_grad[0] else None
        by_weight = by_bias = None
        count = reduce.whole(len(g)) * g[0, 0].numel()
        if ctx.needs_input_grad[3]:
            along = g * (x - mean.view(view))
            by_weight = sum_channels(along, count, ctx.name, "its gradients", reduce) * inverse
        if ctx.needs_input_grad[4]:
            by_bias = sum_channels(g, count, ctx.name, "its gradients", reduce)
        return inner, None, None, by_weight, by_bias, None


def _affine(values: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    channels = values.shape[1]
    return (
        values.new_ones(channels) if weight is None else weight,
        values.new_zeros(channels) if bias is None else bias,
    )


def _view(values: Tensor) -> list[int]:
    return [1, -1, *[1] * (values.dim() - 2)]
