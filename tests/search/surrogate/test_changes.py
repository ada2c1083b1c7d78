"""Surrogates of colour images learn them changed; those of grey images as they are."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from db3.search.surrogate.surrogate import Answers, Surrogate, SurrogateSettings
from db3.settings.training import OwnChanges

_SETTINGS = SurrogateSettings("compact_half", networks=1, steps=4, batch=8, arithmetic="float32")
_OFF = OwnChanges("none", 0.0)


def _weights(channels: int, bounds: tuple[float, float] = (0.0, 1.0), **named: Any) -> bytes:
    drawn = np.random.default_rng(0)
    images = torch.from_numpy(drawn.integers(0, 256, (40, channels * 64), dtype=np.uint8))
    surrogate = Surrogate((channels, 8, 8), 3, replace(_SETTINGS, **named), bounds)
    surrogate.fit(Answers(images, torch.arange(40) % 3))
    state = surrogate.networks[0].state_dict()
    return b"".join(tensor.numpy().tobytes() for tensor in state.values())


@pytest.mark.parametrize("arithmetic", ["exact", "float32", "bfloat16"])
def test_they_are_drawn_by_the_seed(arithmetic: str) -> None:
    assert _weights(3, arithmetic=arithmetic) == _weights(3, arithmetic=arithmetic)
    assert _weights(3, arithmetic=arithmetic) != _weights(3, arithmetic=arithmetic, changes=_OFF)


def test_grey_images_are_learnt_as_they_are() -> None:
    assert _weights(1) == _weights(1, changes=_OFF)
    assert _weights(1, changes=OwnChanges("warp", 0.0)) != _weights(1)
    assert _weights(1, changes=OwnChanges("none", 0.5)) != _weights(1)


def test_other_bounds_are_kept() -> None:
    """What enters at the border, and a warp's limits, belong to the image's own bounds."""
    surrogate = Surrogate((1, 8, 8), 3, replace(_SETTINGS, changes=OwnChanges("warp", 1.0)), (-1.0, 3.0))
    levels = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (40, 64), dtype=np.uint8) * 255)
    images, aims = surrogate._batch([(Answers(levels, torch.zeros(40, dtype=torch.int64)), 30)], torch.Generator(), 0)
    assert -1 <= images.min() < -0.5
    assert 2.5 < images.max() <= 3
    assert sum(weight for weight, _ in aims) == 1
