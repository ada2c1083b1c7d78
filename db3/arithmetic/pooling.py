"""Pooling: maxima are comparisons (of equal values the first counts), means are sums in a fixed order.

Windows that overlap add gradients; they do it window place by window place, so in a fixed order too.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from db3.arithmetic.functions import divide
from db3.arithmetic.layout import batch_last
from db3.arithmetic.sums import row_sum

Pair = tuple[int, int]


@dataclass(frozen=True)
class Pool:
    """Windows of a pooling."""

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    ceil: bool = False

    @property
    def simple(self) -> bool:
        """Whether no two windows overlap: then gradients are moved, not added."""
        return self.kernel[0] <= self.stride[0] and self.kernel[1] <= self.stride[1] and not self.ceil

    def output(self, size: int, axis: int) -> int:
        """Windows along an axis, as torch counts them: the last one begins inside the image or its first border."""
        k, s, p = self.kernel[axis], self.stride[axis], self.padding[axis]
        count = (size + 2 * p - k + (s - 1 if self.ceil else 0)) // s + 1
        return count - 1 if self.ceil and (count - 1) * s >= size + p else count


def max_pool2d(images: Float[Tensor, "n c h w"], pool: Pool) -> Float[Tensor, "n c y x"]:
    """`torch.nn.functional.max_pool2d`."""
    if pool.simple:
        # As torch's kernel for channels that lie side by side: here the images do.
        across = batch_last(images).permute(0, 3, 1, 2)
        return F.max_pool2d(across, pool.kernel, pool.stride, pool.padding).permute(1, 0, 2, 3)
    result: Tensor = _MaxPool.apply(images, pool)
    return result


def avg_pool2d(images: Float[Tensor, "n c h w"], pool: Pool) -> Float[Tensor, "n c y x"]:
    """`torch.nn.functional.avg_pool2d`, the padding's zeros counted in the mean (its default)."""
    result: Tensor = _AvgPool.apply(images, pool)
    return result


def adaptive_avg_pool2d(images: Float[Tensor, "n c h w"], size: Pair) -> Float[Tensor, "n c y x"]:
    """`torch.nn.functional.adaptive_avg_pool2d`."""
    if tuple(images.shape[2:]) == size:
        return images
    result: Tensor = _AdaptivePool.apply(images, size)
    return result


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, pool: Pool) -> Tensor:
        padded, (rows, columns) = _padded(images, pool, -math.inf)
        out = None
        for place in _places(pool, rows, columns):
            seen = padded[place]
            out = seen.clone() if out is None else torch.where(seen > out, seen, out)
        assert out is not None  # noqa: S101 - a kernel has one place at least
        ctx.save_for_backward(images, out)
        ctx.pool = pool
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (images, out), pool, g = ctx.saved_tensors, ctx.pool, gradients[0]
        padded, (rows, columns) = _padded(images, pool, -math.inf)
        inner, free = torch.zeros_like(padded), torch.ones_like(out, dtype=torch.bool)
        for place in _places(pool, rows, columns):
            hit = free & (padded[place] == out)
            inner[place].add_(torch.where(hit, g, 0.0))
            free = free & ~hit
        return _inside(inner, images, pool), None


class _AvgPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, pool: Pool) -> Tensor:
        padded, (rows, columns) = _padded(images, pool, 0.0)
        out = None
        for place in _places(pool, rows, columns):
            out = padded[place].clone() if out is None else out.add_(padded[place])
        assert out is not None  # noqa: S101
        ctx.pool, ctx.shape = pool, images.shape
        return divide(out, pool.kernel[0] * pool.kernel[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        pool = ctx.pool
        images = gradients[0].new_zeros(ctx.shape)
        inner, (rows, columns) = _padded(images, pool, 0.0)
        g = divide(gradients[0], pool.kernel[0] * pool.kernel[1])
        for place in _places(pool, rows, columns):
            inner[place].add_(g)
        return _inside(inner, images, pool), None


class _AdaptivePool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, size: Pair) -> Tensor:
        ctx.shape, ctx.size = images.shape, size
        out = images.new_empty(*images.shape[:2], *size)
        for row, column, window, count in _windows(images.shape, size):
            out[..., row, column] = divide(row_sum(images[window].flatten(2)), count)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        g, inner = gradients[0], gradients[0].new_zeros(ctx.shape)
        for row, column, window, count in _windows(ctx.shape, ctx.size):
            inner[window].add_(divide(g[..., row, column], count)[..., None, None])
        return inner, None


def _padded(images: Tensor, pool: Pool, border: float) -> tuple[Tensor, Pair]:
    """The image with its border, wide enough for the last window, and the numbers of windows."""
    height, width = images.shape[2:]
    rows, columns = pool.output(height, 0), pool.output(width, 1)
    (up, left), (kh, kw), (sy, sx) = pool.padding, pool.kernel, pool.stride
    down = max(0, (rows - 1) * sy + kh - height - up)
    right = max(0, (columns - 1) * sx + kw - width - left)
    return F.pad(images, (left, right, up, down), value=border), (rows, columns)


def _places(pool: Pool, rows: int, columns: int) -> Iterator[tuple[Any, ...]]:
    """For each place in a window, that pixel of every window."""
    (kh, kw), (sy, sx) = pool.kernel, pool.stride
    for y in range(kh):
        for x in range(kw):
            yield ..., slice(y, y + (rows - 1) * sy + 1, sy), slice(x, x + (columns - 1) * sx + 1, sx)


def _inside(padded: Tensor, images: Tensor, pool: Pool) -> Tensor:
    (up, left), (height, width) = pool.padding, images.shape[2:]
    return padded[..., up : up + height, left : left + width].contiguous()


def _windows(shape: torch.Size, size: Pair) -> Iterator[tuple[int, int, tuple[Any, ...], int]]:
    for row in range(size[0]):
        top, bottom = row * shape[2] // size[0], -(-(row + 1) * shape[2] // size[0])
        for column in range(size[1]):
            left, right = column * shape[3] // size[1], -(-(column + 1) * shape[3] // size[1])
            yield row, column, (..., slice(top, bottom), slice(left, right)), (bottom - top) * (right - left)
