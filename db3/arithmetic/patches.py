"""Patches of images as the columns of a matrix, columns added back into images, and rows with repeated pixels."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Size, Tensor

from db3.arithmetic.layout import scratch

Pair = tuple[int, int]

_PIECE = 2**17  # numbers of a matrix of columns at a time: 1 MiB
_BAND = 2**20  # numbers of rows with repeated pixels at a time: 8 MiB


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

    def padded(self, shape: Size) -> Size:
        """Of [c, h, w, n] with its border."""
        (up, left), (c, h, w, n) = self.padding, shape
        return Size([c, h + 2 * up, w + 2 * left, n])

    def _side(self, size: int, axis: int) -> int:
        reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        return (size + 2 * self.padding[axis] - reach) // self.stride[axis] + 1


def pieces(shape: Size, window: Window) -> Iterator[slice]:
    """Rows of the output of images [c, h, w, n] that are worked on together."""
    c, h, w, n = shape
    height, width = window.outputs(h, w)
    step = max(1, _PIECE // max(1, c * window.kernel[0] * window.kernel[1] * width * n))
    return (slice(start, min(start + step, height)) for start in range(0, height, step))


def patches(x: Float[Tensor, "c h w n"], window: Window, rows: slice) -> Float[Tensor, "k m"]:
    """Columns of the given rows of the output: k = c·kh·kw, m = rows · width · n."""
    (kh, kw), (sy, sx), (dy, dx), (up, left) = window.kernel, window.stride, window.dilation, window.padding
    c, h, w, n = x.shape
    _, width = window.outputs(h, w)
    if (kh, kw, sy, sx, up, left) == (1, 1, 1, 1, 0, 0):
        return x[:, rows].flatten(1)
    # The rows that these outputs see, with their border.
    top, bottom = rows.start * sy - up, (rows.stop - 1) * sy - up + dy * (kh - 1) + 1
    seen = x[:, max(0, top) : max(0, min(h, bottom))]
    if top < 0 or bottom > h or left:
        seen = F.pad(seen, (0, 0, left, left, max(0, -top), max(0, bottom - h)))
    seen = seen.contiguous() if seen.stride()[-1] != 1 else seen
    count = rows.stop - rows.start
    channel, line, pixel, image = seen.stride()
    view = seen.as_strided(
        (c, kh, kw, count, width, n),
        (channel, line * dy, pixel * dx, line * sy, pixel * sx, image),
        seen.storage_offset(),
    )
    return view.reshape(c * kh * kw, -1)


def add_patches(out: Float[Tensor, "c H W n"], columns: Float[Tensor, "k m"], window: Window, rows: slice) -> None:
    """Add columns into images with their border, in place; the inverse of where `patches` took them."""
    (kh, kw), (sy, sx), (dy, dx) = window.kernel, window.stride, window.dilation
    n, count = out.shape[3], rows.stop - rows.start
    width = columns.shape[1] // (count * n)
    places = columns.view(out.shape[0], kh, kw, count, width, n)
    for i in range(kh):
        top = rows.start * sy + i * dy
        for j in range(kw):
            left = j * dx
            out[:, top : top + (count - 1) * sy + 1 : sy, left : left + (width - 1) * sx + 1 : sx].add_(places[:, i, j])


def pad(x: Float[Tensor, "c h w n"], window: Window) -> Float[Tensor, "c H W n"]:
    """Images with their border of zeros."""
    up, left = window.padding
    return F.pad(x, (0, 0, left, left, up, up)) if up or left else x


def bands(shape: Size, window: Window) -> Iterator[slice]:
    """Output rows of padded images [c, H, W, n] that are worked on together, at stride 1."""
    (c, h, w, n), (kh, kw) = shape, window.kernel
    step = max(kh, _BAND // max(1, c * kw * (w - kw + 1) * n) - kh + 1)
    height = h - kh + 1
    return (slice(start, min(start + step, height)) for start in range(0, height, step))


def wide_rows(x: Float[Tensor, "c h w n"], window: Window) -> Float[Tensor, "h k m"]:
    """For each row the kw pixels under each output, at stride 1: k = c · kw, m = width · n; in `scratch`."""
    c, h, w, n = x.shape
    kw = window.kernel[1]
    width = w - kw + 1
    channel, line, pixel, image = x.stride()
    view = x.as_strided((h, c, kw, width, n), (line, channel, pixel, pixel, image), x.storage_offset())
    rows = scratch("rows", view.shape, x)
    return rows.copy_(view).view(h, c * kw, width * n)
