import pytest
import torch
from torch import nn

from db3.errors import ConfigError
from db3.networks import build, count_parameters


@pytest.mark.parametrize(
    ("name", "exact", "published"),
    [
        ("alexnet", 23_281_610, "23.3"),
        ("alexnet_half", 5_835_754, "5.84"),
        ("alexnet_quarter", 1_466_618, "1.47"),
    ],
)
def test_parameters_are_the_papers(name: str, exact: int, published: str) -> None:
    count = count_parameters(build(name, (3, 32, 32), 10))
    assert count == exact
    assert f"{count / 1e6:.{len(published.split('.')[1])}f}" == published


def test_widths_and_answers() -> None:
    network = build("alexnet_quarter", (1, 28, 28), 4)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [conv.out_channels for conv in convolutions] == [16, 48, 96, 64, 64]
    assert network.eval()(torch.rand(2, 1, 28, 28)).shape == (2, 4)


def test_training_draws_no_random_numbers() -> None:
    network, images = build("alexnet_quarter", (3, 32, 32), 10), torch.rand(4, 3, 32, 32)
    before = torch.get_rng_state()
    network(images)
    assert torch.equal(torch.get_rng_state(), before)


def test_too_small_is_refused() -> None:
    with pytest.raises(ConfigError, match="do not fit alexnet_half"):
        build("alexnet_half", (3, 8, 8), 10)
