"""The student's loss, exactly: `db3.training.losses` in operations with the same bits everywhere."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from db3.arithmetic.functions import divide, exp, log
from db3.arithmetic.grid import sum_rows
from db3.arithmetic.reduce import Reduce, current
from db3.arithmetic.sums import row_sum
from db3.errors import ConfigError


def log_softmax(logits: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """Logarithm of the softmax over the classes; a row's bits depend on that row alone."""
    result: Tensor = _LogSoftmax.apply(logits)
    return result


def softmax(logits: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """Softmax over the classes, without a gradient."""
    return _softmax(logits.detach())[1]


def student_loss(
    logits: Float[Tensor, "n k"],
    decisions: Int[Tensor, " n"],
    soft_labels: Float[Tensor, "n k"] | None,
    *,
    ce: float,
    kl: float,
    temperature: float,
    total: int | None = None,
) -> Float[Tensor, ""]:
    """L = ce · CE(logits, m) + kl · τ² · KL(p ‖ softmax(logits / τ)), summed over the rows and divided by `total`.

    The same loss as `db3.training.losses.student_loss`. Inside `reducing` its value is the whole batch's, in every
    process (which all have to call it, if with no rows); the gradient is of the rows at hand.

    Args:
        logits: float64.
        decisions: m.
        soft_labels: p; may be None when `kl` is 0.
        ce: weight of the cross-entropy.
        kl: weight of the divergence.
        temperature: τ.
        total: rows that the mean is over; None: those of all processes.

    Raises:
        ConfigError: `kl` is not 0 but there are no soft labels.
        Db3Error: the logits are NaN, infinite or huge.
    """
    if kl and soft_labels is None:
        raise ConfigError(f"the weight of the KL is {kl:g} but the examples have no soft labels: set it to 0")
    reduce = current()
    total = reduce.whole(len(logits)) if total is None else total
    soft = soft_labels.to(torch.float64) if kl and soft_labels is not None else logits.new_empty(0)
    result: Tensor = _StudentLoss.apply(logits, decisions, soft, (ce, kl, temperature), total, reduce)
    return result


class _LogSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        logged, likely = _softmax(logits)
        ctx.save_for_backward(likely)
        return logged

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (likely,) = ctx.saved_tensors
        g = gradients[0]
        result: Tensor = g - likely * row_sum(g)[:, None]
        return result


class _StudentLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        decisions: Tensor,
        soft: Tensor,
        weights: tuple[float, float, float],
        total: int,
        reduce: Reduce,
    ) -> Tensor:
        ce, kl, temperature = weights
        losses, slope = logits.new_zeros(len(logits)), torch.zeros_like(logits)
        if ce:
            logged, likely = _softmax(logits)
            losses = losses - logged.gather(1, decisions[:, None])[:, 0] * ce
            classes = torch.arange(logits.shape[1], device=logits.device)
            slope = slope + (likely - (decisions[:, None] == classes).to(torch.float64)) * ce
        if kl:
            logged, likely = _softmax(divide(logits, temperature))
            own = torch.where(soft > 0, log(soft.clamp(min=1e-300)), 0.0)
            losses = losses + row_sum(soft * (own - logged)) * (kl * (temperature * temperature))
            slope = slope + (likely * row_sum(soft)[:, None] - soft) * (kl * temperature)
        ctx.save_for_backward(divide(slope, total))
        return divide(sum_rows(losses, "the loss", "its rows", reduce), total)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return slope * gradients[0], None, None, None, None, None


def _softmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Log softmax and softmax."""
    if not logits.numel():
        return logits, logits
    shifted = logits - logits.amax(dim=1, keepdim=True)
    raised = exp(shifted)
    total = row_sum(raised)[:, None]
    return shifted - log(total), raised / total
