"""What tests of exact arithmetic share."""

import hashlib
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor


def digest(tensors: Iterable[Tensor]) -> str:
    """Of the tensors' bytes, in order."""
    hashed = hashlib.sha256()
    for tensor in tensors:
        hashed.update(tensor.detach().contiguous().numpy().tobytes())
    return hashed.hexdigest()[:16]


def exact_equal(first: Tensor, second: Tensor) -> bool:
    """The same bytes, signs of zeros included."""
    return first.shape == second.shape and digest([first]) == digest([second])


def on_grid(values: Tensor, bits: int) -> list[Fraction]:
    """Values rounded by rational arithmetic to multiples of 2^(e − bits), ties to even, where 2^e exceeds them all."""
    rationals = [Fraction(value) for value in values.flatten().tolist()]
    largest = max((abs(value) for value in rationals), default=Fraction(0))
    exponent = max(int(np.frexp(float(largest))[1]), bits - 500)
    step = Fraction(2) ** (exponent - bits)
    return [round(value / step) * step for value in rationals]


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Numbers between −1 and 1, of many sizes."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(shape, dtype=torch.float64, generator=generator) * 2 - 1
    return values * values * values
