"""Batch normalisation over a whole batch whose images are spread over several processes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 - the name every PyTorch reader knows
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from db3.training.ranks import Rows


class WholeBatchNorm(TorchFunctionMode):
    """While active, batch normalisation in training takes mean and variance over the images of all processes.

    Serves every layer that calls `torch.nn.functional.batch_norm`, without changing the network.

    Args:
        rows: this process's images of each batch.

    Notes:
        `torch.nn.SyncBatchNorm` computes the same, but on GPUs alone, and replaces the network's layers.
    """

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self._rows = rows

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.batch_norm:
            return self._batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        values: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(values, running_mean, running_var, weight, bias, False, momentum, eps)
        each, kind = self._rows.require_each(len(values), "a batch normalisation sees"), values.dtype
        values = values.to(torch.promote_types(kind, torch.float32))  # numbers of 16 bits are normalised in 32
        count = each * self._rows.total * values[0, 0].numel()
        scale = values.new_ones(values.shape[1]) if weight is None else weight
        shift = values.new_zeros(values.shape[1]) if bias is None else bias
        normed: Tensor
        normed, mean, variance = _WholeBatchNorm.apply(values, scale, shift, count, eps)
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * (count / max(1, count - 1)), momentum)
        return normed.to(kind)


class _WholeBatchNorm(torch.autograd.Function):
    """y = (x − μ) / √(σ² + ε) · w + b with μ and σ² over the images of all processes.

    Sources: Ioffe and Szegedy, "Batch Normalization", ICML 2015, for the gradient; Chan, Golub and LeVeque, "Updating
    formulae and a pairwise algorithm for computing sample variances", 1979, for the variance from those of the parts.
    """

    @staticmethod
    def forward(
        ctx: Any,
        values: Float[Tensor, "n c *rest"],
        weight: Float[Tensor, " c"],
        bias: Float[Tensor, " c"],
        count: int,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        own, axes = values.numel() // values.shape[1], _axes(values)
        variance, mean = torch.var_mean(values, axes, correction=0)
        total = mean * (own / count)
        dist.all_reduce(total)
        squares = (variance + (mean - total) ** 2) * (own / count)
        dist.all_reduce(squares)
        inverse = (squares + eps).rsqrt()
        ctx.save_for_backward(values, weight, total, inverse)
        ctx.count = count
        ctx.mark_non_differentiable(total, squares)
        return F.batch_norm(values, total, squares, weight, bias, False, 0.0, eps), total, squares

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        gradient, (values, weight, mean, inverse) = gradients[0], ctx.saved_tensors
        axes, shape = _axes(values), [-1, *[1] * (values.dim() - 2)]
        normed = (values - mean.view(shape)) * inverse.view(shape)
        own = torch.stack([gradient.sum(axes), (gradient * normed).sum(axes)])
        whole = own.clone()
        dist.all_reduce(whole)
        plain, along = (part.view(shape) for part in whole / ctx.count)
        wanted = (gradient - plain - normed * along) * (inverse * weight).view(shape)
        return wanted, own[1], own[0], None, None


def _axes(values: Tensor) -> list[int]:
    return [0, *range(2, values.dim())]
