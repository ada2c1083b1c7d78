"""Convolutions and linear layers as sums of integers, with their gradients.

Where a result per image is wanted (`per_image`), an image's scale is its own: outputs and input gradients have the
same bits in a batch of 1 as in one of 64. Otherwise, in training, a tensor has one scale over the whole batch, because
a weight's gradient sums over the images; its gradient then covers the images of all processes, see `reduce`.

Kernels: columns of patches times a matrix (im2col and GEMM). Such only multiply inputs and add; Winograd's and FFT
algorithms, which convolutions of a library may use, do not. A batch is worked through in pieces that fit a cache.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from db3.arithmetic.grid import Bits, choose_bits, round_images, round_tensor, weight_bits
from db3.arithmetic.guard import integer_sums
from db3.arithmetic.reduce import Reduce, current

_PIECE = 2**20  # numbers of patches at a time: 8 MiB

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """Where a convolution looks."""

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def outputs(self, height: int, width: int) -> Pair:
        """Height and width of the output."""
        return self._side(height, 0), self._side(width, 1)

    def _side(self, size: int, axis: int) -> int:
        reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        return (size + 2 * self.padding[axis] - reach) // self.stride[axis] + 1


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
    rows = values.numel() // max(1, values.shape[-1])
    positions = reduce.whole(len(values)) * (rows // max(1, len(values)) or 1)
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

    def gradients(self, values: Tensor) -> Tensor:
        return self._rounded(values, self.bits.gradients, "its gradients")

    def for_weights(self, inputs: Tensor, rounded: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and gradients on one grid each, over all images."""
        if not self.per_image:
            return inputs, rounded
        bits = weight_bits(self.name, self.positions)
        return (
            round_tensor(inputs, bits.inputs, self.name, "its inputs", self.reduce),
            round_tensor(gradients, bits.gradients, self.name, "its gradients", self.reduce),
        )

    def _rounded(self, values: Tensor, bits: int, what: str) -> Tensor:
        if self.per_image:
            return round_images(values, bits, self.name, what)
        return round_tensor(values, bits, self.name, what, self.reduce)


class _Conv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, window: Window, call: _Call) -> Tensor:
        x, w = call.inputs(images.contiguous()), call.weights(weight)
        ctx.save_for_backward(x, w)
        ctx.window, ctx.call = window, call
        n, groups = len(x), window.groups
        height, width = window.outputs(*x.shape[2:])
        out = x.new_empty(n, groups, w.shape[0] // groups, height * width)
        rows = w.view(groups, w.shape[0] // groups, -1)
        for piece in _pieces(n, x[0].numel() * rows.shape[-1] // w.shape[1] if n else 1):
            with integer_sums():
                torch.matmul(rows, _columns(x[piece], window), out=out[piece])
        out = out.view(n, -1, height, width)
        # A zero's sign depends on the kernel: + 0 makes all of them +0, also where a bias is −0.
        return out.add_(0.0 if bias is None else (bias + 0.0)[:, None, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (x, w), window, call = ctx.saved_tensors, ctx.window, ctx.call
        outer = outputs[0].contiguous()
        g = call.gradients(outer)
        inner = _conv_inputs(g, w, x.shape, window) if ctx.needs_input_grad[0] else None
        by_weight = by_bias = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            x, g = call.for_weights(x, g, outer)
        if ctx.needs_input_grad[1]:
            by_weight = call.reduce.sum(_conv_weights(g, x, w.shape, window)).add_(0.0)
        if ctx.needs_input_grad[2]:
            by_bias = call.reduce.sum(_sum(g, [0, 2, 3]))
        return inner, by_weight, by_bias, None, None


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor | None, call: _Call) -> Tensor:
        x, w = call.inputs(values.contiguous()), call.weights(weight)
        ctx.save_for_backward(x, w)
        ctx.call = call
        with integer_sums():
            out = torch.matmul(x.flatten(0, -2), w.t()).view(*x.shape[:-1], len(w))
        return out.add_(0.0 if bias is None else bias + 0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (x, w), call = ctx.saved_tensors, ctx.call
        outer = outputs[0].contiguous()
        g = call.gradients(outer)
        inner = by_weight = by_bias = None
        with integer_sums():
            if ctx.needs_input_grad[0]:
                inner = torch.matmul(g.flatten(0, -2), w).view(x.shape).add_(0.0)
            if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
                x, g = call.for_weights(x, g, outer)
            if ctx.needs_input_grad[1]:
                by_weight = call.reduce.sum(torch.matmul(g.flatten(0, -2).t(), x.flatten(0, -2))).add_(0.0)
            if ctx.needs_input_grad[2]:
                by_bias = call.reduce.sum(_sum(g.flatten(0, -2), [0]))
        return inner, by_weight, by_bias, None


def _conv_inputs(g: Tensor, w: Tensor, shape: torch.Size, window: Window) -> Tensor:
    """Gradient of a convolution's input: columns, added where their patches overlap."""
    n, groups = len(g), window.groups
    rows = w.view(groups, w.shape[0] // groups, -1).transpose(1, 2).contiguous()
    g = g.view(n, groups, g.shape[1] // groups, -1)
    out = g.new_empty(shape)
    for piece in _pieces(n, groups * rows.shape[1] * g.shape[-1]):
        with integer_sums():
            columns = torch.matmul(rows, g[piece]).flatten(1, 2)
            out[piece] = F.fold(columns, shape[2:], window.kernel, window.dilation, window.padding, window.stride)
    return out


def _conv_weights(g: Tensor, x: Tensor, shape: torch.Size, window: Window) -> Tensor:
    """Gradient of a convolution's weights over the images of this process."""
    n, groups = len(g), window.groups
    g = g.view(n, groups, g.shape[1] // groups, -1)
    taps = shape[1] * shape[2] * shape[3]
    out = g.new_zeros(groups, g.shape[2], taps)
    for piece in _pieces(n, groups * taps * g.shape[-1]):
        left = g[piece].permute(1, 2, 0, 3).reshape(groups, g.shape[2], -1)
        right = _columns(x[piece], window, images_last=True)
        with integer_sums():
            out += torch.matmul(left, right.transpose(1, 2))
    return out.view(shape)


def _columns(x: Tensor, window: Window, images_last: bool = False) -> Tensor:
    """Patches as columns: [n, groups, c·kh·kw, y·x], or [groups, c·kh·kw, n·y·x]."""
    if any(window.padding):
        (up, across) = window.padding
        x = F.pad(x, (across, across, up, up))
    n, c, h, w = x.shape
    (kh, kw), (sy, sx), (dy, dx), groups = window.kernel, window.stride, window.dilation, window.groups
    y_count, x_count = (h - dy * (kh - 1) - 1) // sy + 1, (w - dx * (kw - 1) - 1) // sx + 1
    image, channel, row, column = c * h * w, h * w, w, 1
    x = x.contiguous()
    if images_last:
        places = (c, kh, kw, n, y_count, x_count)
        steps = (channel, row * dy, column * dx, image, row * sy, column * sx)
        return x.as_strided(places, steps, x.storage_offset()).reshape(groups, c // groups * kh * kw, -1)
    places = (n, c, kh, kw, y_count, x_count)
    steps = (image, channel, row * dy, column * dx, row * sy, column * sx)
    return x.as_strided(places, steps, x.storage_offset()).reshape(n, groups, c // groups * kh * kw, -1)


def _pieces(count: int, size: int) -> Iterator[slice]:
    """Images a piece, of `size` numbers each."""
    step = max(1, _PIECE // max(1, size))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def _sum(values: Tensor, axes: list[int]) -> Tensor:
    with integer_sums():
        return values.sum(axes)
