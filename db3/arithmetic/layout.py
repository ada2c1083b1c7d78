"""Memory with the images of a batch side by side: [c, h, w, n].

A pixel of a patch, or a place of a pooling window, is then one run of memory for all images: patches are copied and
gathered by whole runs, several times faster than from [n, c, h, w]. Tensors keep their shape [n, c, h, w]; element-wise
operations keep the memory's order, so it is changed once, at a network's first layer.
"""

from jaxtyping import Float
from torch import Tensor


def batch_last(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "c h w n"]:
    """The same values with the images along the last axis, contiguous; copied where they do not lie so."""
    return images.permute(1, 2, 3, 0).contiguous()


def batch_first(values: Float[Tensor, "c h w n"]) -> Float[Tensor, "n c h w"]:
    """The view in the usual shape."""
    return values.permute(3, 0, 1, 2)
