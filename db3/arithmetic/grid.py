"""Rounding to a fixed-point grid, so that sums of products are sums of integers.

A tensor whose largest absolute value is below 2^e, rounded to multiples of 2^(e−B), holds integers up to 2^B times a
power of two. A sum of n products of such with B and B' bits stays below 2^53 while B + B' + ⌈log2 n⌉ ≤ 53, and then
every partial sum in float64 is exact: order, blocking, threads, fused multiply-add and device change no bit.

The range is bounded as well. Grids finer than 2⁻⁵⁰⁰ are not used (smaller values round to 0), and values of 2⁵⁰⁰ or
more are refused: so no product ever meets denormals or overflow, where kernels differ.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from db3.arithmetic.functions import power_of_two
from db3.arithmetic.guard import integer_sums
from db3.arithmetic.reduce import ALONE, Reduce
from db3.errors import ConfigError, Db3Error

_EXACT = 53  # integers up to 2⁵³ are exact in float64
_MOST = 24  # bits of an operand: float32's, more would be of no use
_LEAST = 11  # float16's
_RANGE = 500
_BLOCK = 2**15  # values that are rounded at a time: 256 KiB
_SUM_BITS = 46  # of a sum without products; the rounding below can do 51


@dataclass(frozen=True)
class Bits:
    """Bits of the operands of a layer's three product-sums: inputs · weights, and gradients with each of both."""

    inputs: int
    weights: int
    gradients: int


def room(terms: int) -> int:
    """Bits that are left for the operands of a sum of so many terms."""
    return _EXACT - max(0, terms - 1).bit_length()


def choose_bits(name: str, fan_in: int, fan_out: int, positions: int | None) -> Bits:
    """As many bits per operand as keep every partial sum exact, shared out evenly.

    Args:
        name: of the layer, for the error.
        fan_in: terms of an output.
        fan_out: terms of an input's gradient.
        positions: terms of a weight's gradient, batch · height · width of the output; None: none is computed.

    Raises:
        ConfigError: less than 11 bits are left for an operand.
    """
    forward, back = room(fan_in), room(fan_out)
    inputs = min(_MOST, forward // 2)
    gradients = min(_MOST, back // 2)
    if positions is not None:
        across = room(positions)
        inputs = min(inputs, (across + 1) // 2)
        gradients = min(gradients, across - inputs)
    weights = min(_MOST, forward - inputs, back - gradients)
    bits = Bits(inputs, weights, gradients)
    if min(inputs, weights, gradients) < _LEAST:
        raise ConfigError(
            f"{name} sums {max(fan_in, fan_out, positions or 0)} products, which leaves {bits} of 53 bits to its "
            f"operands; expected {_LEAST} each: lower the batch or the images' size, or take arithmetic float32"
        )
    return bits


def weight_bits(name: str, positions: int) -> Bits:
    """Bits for a weight's gradient that is computed alone: of inputs and of gradients."""
    return choose_bits(name, 1, 1, positions)


def round_tensor(
    values: Float[Tensor, "*n"], bits: int, name: str, what: str, reduce: Reduce = ALONE, out: Tensor | None = None
) -> Float[Tensor, "*n"]:
    """Round to the grid of `bits` bits below the largest absolute value (ties to even).

    Args:
        values: float64.
        bits: 1 … 51.
        name: of the layer, for the error.
        what: the tensor is, for the error.
        reduce: who else has parts of this tensor.
        out: where the result goes, in the same order of memory; None: into fresh memory.

    Raises:
        Db3Error: NaN, infinity, or 2^500 and more.
    """
    largest = float(reduce.largest(_largest(values)))
    if not largest < 2.0**_RANGE:
        raise _unfit(largest, name, what)
    exponent = max(math.frexp(largest)[1], bits - _RANGE)
    # Adding 1.5 · 2^52 grid steps leaves no bits below a step; taking them off again is exact.
    magic = math.ldexp(1.5, 52 + exponent - bits)
    dense = _dense(values)
    if not dense.is_contiguous():
        return torch.add(values, magic, out=out).sub_(magic)
    out = torch.empty_like(values) if out is None else out
    # By blocks of memory, which stay in a cache from one operation to the next.
    for part, rounded in zip(*(torch.split(tensor.view(-1), _BLOCK) for tensor in (dense, _dense(out))), strict=True):
        torch.add(part, magic, out=rounded).sub_(magic)
    return out


def round_images(values: Float[Tensor, "n *rest"], bits: int, name: str, what: str) -> Float[Tensor, "n *rest"]:
    """`round_tensor` with a grid for each image, so that an image's bits do not depend on its neighbours."""
    if not values.numel():
        return values
    largest = values.abs().amax(dim=list(range(1, values.dim())), keepdim=True) if values.dim() > 1 else values.abs()
    return _round_to(values, bits, largest, name, what)


def round_channels(
    values: Float[Tensor, "n c *rest"], bits: int, name: str, what: str, reduce: Reduce
) -> Float[Tensor, "n c *rest"]:
    """`round_tensor` with a grid for each channel, for sums over all else."""
    largest = values.abs().amax(dim=_others(values)) if values.numel() else values.new_zeros(values.shape[1])
    largest = reduce.largest(largest)
    return _round_to(values, bits, largest.view(1, -1, *[1] * (values.dim() - 2)), name, what)


def sum_channels(
    values: Float[Tensor, "n c *rest"], terms: int, name: str, what: str, reduce: Reduce
) -> Float[Tensor, " c"]:
    """Sum over all axes but the channels', over all processes: `terms` terms a channel."""
    rounded = round_channels(values, sum_bits(terms), name, what, reduce)
    with integer_sums():
        return reduce.sum(rounded.sum(_others(values)))


def sum_rows(values: Float[Tensor, " n"], name: str, what: str, reduce: Reduce) -> Float[Tensor, ""]:
    """Sum of a vector of which each process has some rows."""
    rounded = round_tensor(values, sum_bits(reduce.whole(len(values))), name, what, reduce)
    with integer_sums():
        return reduce.sum(rounded.sum())


def sum_bits(terms: int) -> int:
    """Bits of each of so many terms of a sum."""
    return min(_SUM_BITS, room(terms))


def _round_to(values: Tensor, bits: int, largest: Tensor, name: str, what: str) -> Tensor:
    top = float(largest.max())
    if not top < 2.0**_RANGE:
        raise _unfit(top, name, what)
    exponent = torch.frexp(largest)[1].to(torch.int64).clamp(min=bits - _RANGE)
    magic = power_of_two(exponent + (52 - bits)) * 1.5
    return (values + magic).sub_(magic)


def _largest(values: Tensor) -> Tensor:
    if not values.numel():
        return values.new_zeros(())
    low, high = torch.aminmax(_dense(values))
    return torch.maximum(-low, high)


def _dense(values: Tensor) -> Tensor:
    """The view whose axes follow the memory: aminmax would copy another one."""
    if values.is_contiguous():
        return values
    return values.permute(sorted(range(values.dim()), key=values.stride, reverse=True))


def _others(values: Tensor) -> list[int]:
    return [0, *range(2, values.dim())]


def _unfit(largest: float, name: str, what: str) -> Db3Error:
    return Db3Error(
        f"{name}: {what} hold {largest:g}; expected finite values below 2^{_RANGE}: look for a damaged input or "
        "weights, or lower the learning rate"
    )
