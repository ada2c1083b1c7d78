"""Small networks and problems for the tests of training, as fixtures that give functions."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from db3.training.examples import Examples


def _small_network(seed: int = 0, dropout: float = 0.0, classes: int = 3) -> nn.Module:
    """A convolutional network for [1, 8, 8] images, its weights a function of the seed."""
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(36, classes),
    )
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=drawn) * 0.2)
    return network


def _bars(count: int, seed: int = 0) -> Examples:
    """Noisy images with a bright bar at one of three heights: the bar's place is the class."""
    drawn = np.random.default_rng(seed)
    decisions = drawn.integers(0, 3, count)
    images = drawn.integers(0, 120, (count, 1, 8, 8), dtype=np.uint8)
    for image, decision in zip(images, decisions, strict=True):
        image[0, 1 + 2 * decision : 3 + 2 * decision] += 110
    return Examples(images, decisions)


def _weights(network: nn.Module) -> bytes:
    """All of a network's state as bytes."""
    return b"".join(tensor.contiguous().numpy().tobytes() for tensor in network.state_dict().values())


@pytest.fixture(scope="session")
def small_network() -> Callable[..., nn.Module]:
    return _small_network


@pytest.fixture(scope="session")
def bars() -> Callable[..., Examples]:
    return _bars


@pytest.fixture(scope="session")
def weights() -> Callable[[nn.Module], bytes]:
    return _weights
