from torch import nn

from db3.networks import build, count_parameters, multiply_adds


def test_multiply_adds_of_lenet_by_hand() -> None:
    by_hand = 24 * 24 * 20 * 25 + 8 * 8 * 50 * 20 * 25 + 800 * 200 + 200 * 10
    assert multiply_adds(build("lenet5", (1, 28, 28), 10), (1, 28, 28)) == by_hand


def test_multiply_adds_of_resnet18_are_the_published() -> None:
    assert round(multiply_adds(build("resnet18", (3, 224, 224), 1000), (3, 224, 224)) / 1e9, 2) == 1.81


def test_mode_is_left_as_it_was() -> None:
    network = build("alexnet_quarter", (3, 32, 32), 10)
    network.body.norm1.eval()
    modes = [module.training for module in network.modules()]
    multiply_adds(network, (3, 32, 32))
    assert [module.training for module in network.modules()] == modes


def test_buffers_are_no_parameters() -> None:
    assert count_parameters(nn.BatchNorm2d(5)) == 10
