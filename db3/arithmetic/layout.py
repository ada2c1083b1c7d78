"""Memory with the images of a batch side by side: [c, h, w, n].

A pixel of a patch, or a place of a pooling window, is then one run of memory for all images: patches are copied and
gathered by whole runs, several times faster than from [n, c, h, w]. Tensors keep their shape [n, c, h, w]; element-wise
operations keep the memory's order, so it is changed once, at a network's first layer.
"""

import math
import threading
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

_SCRATCH = threading.local()
_KEPT = 2**22  # numbers of a buffer that is kept: 32 MiB


def batch_last(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "c h w n"]:
    """The same values with the images along the last axis, contiguous; copied where they do not lie so."""
    return images.permute(1, 2, 3, 0).contiguous()


def batch_first(values: Float[Tensor, "c h w n"]) -> Float[Tensor, "n c h w"]:
    """The view in the usual shape."""
    return values.permute(3, 0, 1, 2)


def scratch(purpose: str, shape: Sequence[int], like: Tensor) -> Tensor:
    """Memory for a value that does not outlive the caller: each purpose's is used again by the same thread.

    Fresh memory of some megabytes comes from the kernel page by page, which costs as much as the work done in it.
    """
    size = math.prod(shape)
    if like.device.type != "cpu" or like.dtype != torch.float64 or size > _KEPT:
        return like.new_empty(shape)
    buffer: Tensor | None = getattr(_SCRATCH, purpose, None)
    if buffer is None or len(buffer) < size:
        with torch.inference_mode(False):  # else it could not be written to outside that mode
            buffer = torch.empty(size, dtype=torch.float64)
        setattr(_SCRATCH, purpose, buffer)
    return buffer[:size].view(*shape)
