import pytest
import torch

from db3.errors import ConfigError
from db3.networks import Normalise, build, count_parameters


def test_normalise_per_channel() -> None:
    layer = Normalise(2, mean=[0.5, 0.25], std=[0.5, 2.0])
    images = torch.tensor([[[[1.0]], [[0.25]]], [[[0.0]], [[1.0]]]])
    assert layer(images).flatten().tolist() == [1.0, 0.0, -1.0, 0.375]


def test_default_changes_nothing_and_counts_nothing() -> None:
    images = torch.rand(2, 3, 4, 4)
    layer = Normalise(3)
    assert torch.equal(layer(images), images)
    assert count_parameters(layer) == 0
    assert set(layer.state_dict()) == {"mean", "std"}


def test_networks_normalise_first() -> None:
    images = torch.rand(2, 1, 28, 28)
    plain, shifted = build("lenet5", (1, 28, 28), 10), build("lenet5", (1, 28, 28), 10, mean=[0.2], std=[0.5])
    torch.testing.assert_close(shifted(images), plain((images - 0.2) / 0.5))


def test_wrong_statistics_are_named() -> None:
    with pytest.raises(ConfigError, match="mean has 3 values for images of 1 channels"):
        Normalise(1, mean=[0.1, 0.2, 0.3])
    with pytest.raises(ConfigError, match=r"std is \[0.0\]; expected positive"):
        Normalise(1, std=[0.0])
