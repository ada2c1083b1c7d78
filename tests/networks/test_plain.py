"""Plain convolutional networks."""

import pytest
import torch

from db3.arithmetic import has_twin
from db3.networks import build, count_parameters
from db3.networks.plain import PLAIN


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("shape", [(1, 4, 5), (1, 28, 28), (3, 32, 40)])
def test_it_fits_and_has_a_twin(name: str, shape: tuple[int, int, int]) -> None:
    network = build(name, shape, 3).eval()
    assert network(torch.rand(2, *shape)).shape == (2, 3)
    assert has_twin(network)


def test_sizes() -> None:
    sizes = {name: count_parameters(build(name, (1, 28, 28), 10)) for name in PLAIN}
    assert sizes == {"plain": 206_922, "plain_deep": 218_490, "shallow": 604_730}


def test_places_are_told_apart() -> None:
    """An image moved by four pixels gets other scores: nothing is averaged over places."""
    network = build("plain", (1, 28, 28), 10).eval()
    image = torch.zeros(1, 1, 28, 28)
    image[..., 8:16, 8:16] = 1
    assert (network(image) - network(image.roll(4, 3))).abs().max() > 1e-3
