"""Convolutions of images side by side, [c, h, w, n], as products of matrices of integers times a power of two.

A matrix product only multiplies inputs and adds; Winograd's and FFT algorithms, which a library's convolutions may
use, do not. Sums are exact, so neither the way chosen here nor the size of a piece changes a bit.

By rows, where stride and dilation are 1 and rows are long: pixels are repeated along a row only, [h, c · kw, x · n].
The kh rows under an output row are then one matrix without another copy, and 1 / kh of the numbers that patches have.
Source: Cho and Brand, "MEC: Memory-efficient Convolution for Deep Neural Network", ICML 2017.

By patches otherwise: every patch is a column of a matrix (im2col).
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Size, Tensor

from db3.arithmetic.guard import integer_sums
from db3.arithmetic.layout import scratch
from db3.arithmetic.patches import Window, add_patches, bands, pad, patches, pieces, wide_rows

_LONG = 2**16  # numbers of the matrix of an output row, from which on a product a row is no slower than one of many


def convolve(x: Float[Tensor, "c h w n"], w: Float[Tensor, "o i kh kw"], window: Window) -> Float[Tensor, "o y x n"]:
    """The convolution."""
    height, width = window.outputs(*x.shape[1:3])
    out = x.new_empty(len(w), height, width, x.shape[3])
    if _by_rows(x.shape, window):
        matrix = w.transpose(1, 2).flatten(1)
        with integer_sums():
            for y, rows in _under(x, window):
                torch.mm(matrix, rows, out=out[:, y].flatten(1))
        return out
    matrices = w.flatten(1).chunk(window.groups)
    for piece in pieces(x.shape, window):
        columns = patches(x, window, piece).chunk(window.groups)
        parts = out[:, piece].flatten(1).chunk(window.groups)
        with integer_sums():
            for matrix, column, part in zip(matrices, columns, parts, strict=True):
                torch.mm(matrix, column, out=part)
    return out


def input_gradient(
    g: Float[Tensor, "o y x n"], w: Float[Tensor, "o i kh kw"], shape: Size, window: Window
) -> Float[Tensor, "c h w n"]:
    """Gradient of the input of this shape: columns, added where their patches overlap."""
    (up, left), (height, width) = window.padding, shape[1:3]
    if _by_rows(shape, window):
        return _input_gradient_by_rows(g, w, shape, window)
    out = g.new_zeros(window.padded(shape))
    matrices = [matrix.t().contiguous() for matrix in w.flatten(1).chunk(window.groups)]
    for piece in pieces(shape, window):
        parts = g[:, piece].flatten(1).chunk(window.groups)
        with integer_sums():
            columns = [torch.mm(matrix, part) for matrix, part in zip(matrices, parts, strict=True)]
            add_patches(out, columns[0] if len(columns) == 1 else torch.cat(columns), window, piece)
    return out[:, up : up + height, left : left + width].contiguous()


def weight_gradient(
    g: Float[Tensor, "o y x n"], x: Float[Tensor, "c h w n"], shape: Size, window: Window
) -> Float[Tensor, "o i kh kw"]:
    """Gradient of the weights of this shape, over these images."""
    if _by_rows(x.shape, window):
        o, c, kh, kw = shape
        total = g.new_zeros(o, kh * c * kw)
        with integer_sums():
            for y, rows in _under(x, window):
                total.addmm_(g[:, y].flatten(1), rows.t())
        return total.view(o, kh, c, kw).transpose(1, 2).contiguous()
    out = g.new_zeros(shape)
    sums = out.flatten(1).chunk(window.groups)
    for piece in pieces(x.shape, window):
        columns = patches(x, window, piece).chunk(window.groups)
        parts = g[:, piece].flatten(1).chunk(window.groups)
        with integer_sums():
            for part_sum, part, column in zip(sums, parts, columns, strict=True):
                part_sum.addmm_(part, column.t())
    return out


def _by_rows(shape: Size, window: Window) -> bool:
    plain = window.stride == window.dilation == (1, 1) and window.groups == 1 and window.kernel != (1, 1)
    taps = window.kernel[0] * window.kernel[1]
    return plain and shape[0] * taps * window.outputs(*shape[1:3])[1] * shape[3] >= _LONG


def _under(x: Float[Tensor, "c h w n"], window: Window) -> Iterator[tuple[int, Float[Tensor, "k m"]]]:
    """Each output row's number, and the matrix of what it sees: k = kh · c · kw, m = width · n."""
    x, kh = pad(x, window), window.kernel[0]
    for band in bands(x.shape, window):
        rows = wide_rows(x[:, band.start : band.stop + kh - 1], window)
        for y in range(band.start, band.stop):
            yield y, rows[y - band.start : y - band.start + kh].flatten(0, 1)


def _input_gradient_by_rows(
    g: Float[Tensor, "o y x n"], w: Float[Tensor, "o i kh kw"], shape: Size, window: Window
) -> Float[Tensor, "c h w n"]:
    """For each input row the output rows that saw it, as one matrix; then what its pixels were repeated for, added."""
    (up, left), (kh, kw), (c, height, width, n) = window.padding, window.kernel, shape
    o, y_count, x_count, _ = g.shape
    rows = scratch("outputs", (y_count, o, x_count, n), g).copy_(g.transpose(0, 1)).flatten(2)
    matrix = w.flip(2).permute(1, 3, 2, 0).reshape(c * kw, kh * o)
    out = g.new_zeros(c, height, width + 2 * left, n)
    with integer_sums():
        for row in range(height):
            first = row + up - kh + 1  # the output row under whose kernel's last row this one lies
            start, stop = max(0, first), min(y_count, row + up + 1)
            if start >= stop:
                continue
            seen = torch.mm(matrix[:, (start - first) * o : (stop - first) * o], rows[start:stop].flatten(0, 1))
            for place, part in enumerate(seen.view(c, kw, x_count, n).unbind(1)):
                out[:, row, place : place + x_count].add_(part)
    return out[:, :, left : left + width].contiguous()
