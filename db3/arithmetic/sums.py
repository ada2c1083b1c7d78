"""Sums whose bits do not depend on the batch, the threads or the device.

A library's reduction may group its addends by the tensor's shape, by the number of threads or by the device, and
float addition is not associative: the same row can then sum to another last bit beside other neighbours. These
functions fold a row in halves with element-wise additions only, each rounded as IEEE 754 says, so a row's sum is a
function of that row alone. They cost about two passes over memory.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from db3.arithmetic.functions import sqrt


def row_sum(values: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows"]:
    """Sum over the last axis in a fixed order (pairwise, halving)."""
    width = values.shape[-1]
    if width < 2:
        return values[..., 0] if width else values.new_zeros(values.shape[:-1])
    folded = values.new_empty(*values.shape[:-1], (width + 1) // 2)
    while width > 1:
        half = width // 2
        torch.add(values[..., :half], values[..., half : 2 * half], out=folded[..., :half])
        if width % 2:  # the odd column waits for the next fold
            folded[..., half] = values[..., 2 * half]
        values, width = folded, width - half
    return values[..., 0]


def row_norm(values: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows"]:
    """L2 norm over the last axis in a fixed order."""
    return sqrt(row_sum(values * values))
