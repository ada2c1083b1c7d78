"""Dropout whose zeros are a function of (seed, step, layer, image): integers from Philox, compared with integers.

torch's Bernoulli numbers come from MKL's streams where there is MKL, so from another stream elsewhere.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from db3.errors import ConfigError
from db3.rng import Purpose, words

_STATE = threading.local()


@dataclass(frozen=True)
class Draw:
    """Who draws: of a training with this seed, at this step, the images of a batch from number `first` on."""

    seed: int
    step: int
    first: int = 0


@contextmanager
def drawing(seed: int, step: int, first: int = 0) -> Iterator[None]:
    """Dropout of exact layers in training draws for these images (`first`: of the batch, of this process)."""
    before = getattr(_STATE, "draw", None)
    _STATE.draw = Draw(seed, step, first)
    try:
        yield
    finally:
        _STATE.draw = before


def dropout(values: Float[Tensor, "n *rest"], p: float, layer: int, name: str) -> Float[Tensor, "n *rest"]:
    """Zero each value with probability p (in units of 2⁻³²) and multiply the others by 1 / (1 − p).

    Raises:
        ConfigError: outside `drawing`, where nothing says what the zeros depend on.
    """
    draw: Draw | None = getattr(_STATE, "draw", None)
    if draw is None:
        raise ConfigError(f"{name} drops values in training outside a keyed draw; expected `with drawing(seed, step):`")
    if p >= 1:
        return values * 0.0
    sample = draw.first + torch.arange(len(values), device=values.device)
    step, place = torch.full_like(sample, draw.step), torch.full_like(sample, layer)
    drawn = words(draw.seed, Purpose.EXACT_DROPOUT, step, place, sample, values[0].numel()).view(values.shape)
    kept = (drawn >= int(p * 2**32)).to(torch.float64)
    return values * (kept * (1 / (1 - p)))
