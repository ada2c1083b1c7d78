"""Convolutions and linear layers as sums of integers, with their gradients.

Where a result per image is wanted (`per_image`), an image's scale is its own: outputs and input gradients have the
same bits in a batch of 1 as in one of 64. Otherwise, in training, a tensor has one scale over the whole batch, because
a weight's gradient sums over the images; its gradient then covers the images of all processes, see `reduce`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from db3.arithmetic.convolutions import convolve, input_gradient, weight_gradient
from db3.arithmetic.grid import Bits, choose_bits, round_images, round_tensor, weight_bits
from db3.arithmetic.guard import integer_sums
from db3.arithmetic.layout import batch_first, batch_last, scratch
from db3.arithmetic.patches import Window
from db3.arithmetic.reduce import Reduce, current


def conv2d(
    images: Float[Tensor, "n c h w"],
    weight: Float[Tensor, "o i kh kw"],
    bias: Float[Tensor, " o"] | None,
    window: Window,
    *,
    per_image: bool,
    name: str = "conv2d",
) -> Float[Tensor, "n o y x"]:
    """`torch.nn.functional.conv2d` in float64, exactly.

    Args:
        images: float64, as all tensors here.
        weight: of all groups.
        bias: added to each map, or None.
        window: where it looks; its kernel is the weight's.
        per_image: a scale for each image, see the module.
        name: of the layer, for errors.

    Raises:
        ConfigError: a sum too long for 53 bits.
        Db3Error: NaN, infinity or huge values in the input, the weights or the gradient.
    """
    reduce = current()
    height, width = window.outputs(*images.shape[2:])
    taps = window.kernel[0] * window.kernel[1]
    positions = reduce.whole(len(images)) * height * width
    fan_in, fan_out = weight.shape[1] * taps, weight.shape[0] // window.groups * taps
    bits = choose_bits(name, fan_in, fan_out, None if per_image else positions)
    call = _Call(name, bits, per_image, positions, reduce)
    result: Tensor = _Conv2d.apply(images, weight, bias, window, call)
    return result


def linear(
    values: Float[Tensor, "n *rest i"],
    weight: Float[Tensor, "o i"],
    bias: Float[Tensor, " o"] | None,
    *,
    per_image: bool,
    name: str = "linear",
) -> Float[Tensor, "n *rest o"]:
    """`torch.nn.functional.linear` in float64, exactly; see `conv2d`."""
    reduce = current()
    positions = reduce.whole(len(values)) * values.shape[1:-1].numel()
    bits = choose_bits(name, weight.shape[1], weight.shape[0], None if per_image else positions)
    result: Tensor = _Linear.apply(values, weight, bias, _Call(name, bits, per_image, positions, reduce))
    return result


@dataclass(frozen=True)
class _Call:
    """What forward and backward of one call share."""

    name: str
    bits: Bits
    per_image: bool
    positions: int
    reduce: Reduce

    def inputs(self, values: Tensor) -> Tensor:
        return self._rounded(values, self.bits.inputs, "its inputs")

    def weights(self, values: Tensor) -> Tensor:
        return round_tensor(values, self.bits.weights, self.name, "its weights")

    def gradients(self, values: Tensor, out: Tensor | None = None) -> Tensor:
        return self._rounded(values, self.bits.gradients, "its gradients", out)

    def for_weights(self, inputs: Tensor, rounded: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and gradients on one grid each, over all images."""
        if not self.per_image:
            return inputs, rounded
        bits = weight_bits(self.name, self.positions)
        return (
            round_tensor(inputs, bits.inputs, self.name, "its inputs", self.reduce),
            round_tensor(gradients, bits.gradients, self.name, "its gradients", self.reduce),
        )

    def _rounded(self, values: Tensor, bits: int, what: str, out: Tensor | None = None) -> Tensor:
        if self.per_image:
            return round_images(values, bits, self.name, what)
        return round_tensor(values, bits, self.name, what, self.reduce, out)


class _Conv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, window: Window, call: _Call) -> Tensor:
        x, w = call.inputs(batch_first(batch_last(images))), call.weights(weight)
        ctx.save_for_backward(x, w)
        ctx.window, ctx.call = window, call
        out = convolve(batch_last(x), w, window)
        # A zero's sign depends on the kernel: + 0 makes all of them +0, also where a bias is −0.
        return batch_first(out.add_(0.0 if bias is None else (bias + 0.0)[:, None, None, None]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (x, w), window, call = ctx.saved_tensors, ctx.window, ctx.call
        side_by_side = batch_last(outputs[0])
        outer = batch_first(side_by_side)
        g = call.gradients(outer, batch_first(scratch("gradients", side_by_side.shape, outer)))
        inner = by_weight = by_bias = None
        if ctx.needs_input_grad[0]:
            inner = batch_first(input_gradient(batch_last(g), w, batch_last(x).shape, window))
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            x, g = call.for_weights(x, g, outer)
        if ctx.needs_input_grad[1]:
            by_weight = call.reduce.sum(weight_gradient(batch_last(g), batch_last(x), w.shape, window)).add_(0.0)
        if ctx.needs_input_grad[2]:
            by_bias = call.reduce.sum(_sum(g, [0, 2, 3]))
        return inner, by_weight, by_bias, None, None


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor | None, call: _Call) -> Tensor:
        x, w = call.inputs(values), call.weights(weight)
        ctx.save_for_backward(x, w)
        ctx.call = call
        with integer_sums():
            out = torch.mm(x.flatten(0, -2), w.t()).view(*x.shape[:-1], len(w))
        return out.add_(0.0 if bias is None else bias + 0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (x, w), call, outer = ctx.saved_tensors, ctx.call, outputs[0]
        g = call.gradients(outer)
        inner = by_weight = by_bias = None
        if ctx.needs_input_grad[0]:
            inner = _linear_inputs(g.flatten(0, -2), w, x).add_(0.0)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            x, g = call.for_weights(x, g, outer)
        if ctx.needs_input_grad[1]:
            with integer_sums():
                by_weight = torch.mm(g.flatten(0, -2).t(), x.flatten(0, -2))
            by_weight = call.reduce.sum(by_weight).add_(0.0)
        if ctx.needs_input_grad[2]:
            by_bias = call.reduce.sum(_sum(g.flatten(0, -2), [0]))
        return inner, by_weight, by_bias, None


def _linear_inputs(g: Float[Tensor, "m o"], w: Float[Tensor, "o i"], x: Tensor) -> Tensor:
    """Gradient of a linear layer's input, in the memory's order of `x`, where the images may lie side by side."""
    with integer_sums():
        if x.dim() == 2 and x.stride(0) == 1:
            return torch.mm(w.t(), g.t()).t()
        return torch.mm(g, w).view(x.shape)


def _sum(values: Tensor, axes: list[int]) -> Tensor:
    with integer_sums():
        return values.sum(axes)
