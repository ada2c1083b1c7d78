import pytest
import torch
from torch import nn

from db3.errors import ConfigError
from db3.networks.shapes import features, trial


def test_trial_agrees_with_a_real_call() -> None:
    network = nn.Sequential(nn.Conv2d(2, 5, 3, stride=2), nn.BatchNorm2d(5), nn.Flatten()).eval()
    shape = (2, 13, 9)
    assert trial(network, shape, "test").shape == network(torch.rand(1, *shape)).shape
    assert features(network, shape, "test") == 5 * 6 * 4


def test_features_keep_mode_and_statistics() -> None:
    network = nn.Sequential(nn.BatchNorm2d(2), nn.Flatten())
    features(network, (2, 3, 3), "test")
    assert network.training
    assert network[0].num_batches_tracked == 0


def test_a_kernel_larger_than_the_image_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"images of shape \[1, 4, 4\] \(C, H, W\) do not fit test .*: set a larger"):
        trial(nn.Conv2d(1, 1, 5), (1, 4, 4), "test")
