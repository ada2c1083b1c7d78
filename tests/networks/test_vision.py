import pytest
import torch
from torchvision import models

from db3.arithmetic import has_twin
from db3.errors import ConfigError
from db3.networks import build, count_parameters


@pytest.mark.parametrize(("name", "parameters"), [("resnet18", 11_689_512), ("resnet34", 21_797_672)])
def test_resnets_are_torchvisions(name: str, parameters: int) -> None:
    network = build(name, (3, 64, 64), 1000)
    assert count_parameters(network) == parameters  # as torchvision publishes them
    reference = models.get_model(name, weights=None).eval()
    reference.load_state_dict(network.body.state_dict())
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(network.eval()(images), reference(images))


def test_small_stem_keeps_the_resolution() -> None:
    network = build("resnet18_small", (3, 32, 32), 10)
    assert count_parameters(network) == 11_173_962
    seen: list[tuple[int, ...]] = []
    network.body.layer1.register_forward_hook(lambda *call: seen.append(tuple(call[2].shape)))
    network.eval()(torch.rand(1, 3, 32, 32))
    assert seen == [(1, 64, 32, 32)]


def test_half_the_maps_have_about_a_quarter_of_the_weights() -> None:
    network = build("resnet18_small_half", (3, 32, 32), 10)
    assert count_parameters(network) == 2_797_610
    assert has_twin(network)
    whole = build("resnet18_small", (3, 32, 32), 10)
    shapes = [[tuple(each.shape) for each in one.state_dict().values()] for one in (network, whole)]
    assert len(shapes[0]) == len(shapes[1])
    halves = [tuple(-(-side // 2) if side > 10 else side for side in shape) for shape in shapes[1]]
    assert shapes[0] == halves


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("mobilenet_v3_small", 64),
        ("squeezenet1_1", 64),
        ("convnext_small", 64),
        ("regnet_y_400mf", 64),
        ("vit_b_16", 32),
    ],
)
def test_other_classifiers_take_grey_images(name: str, side: int) -> None:
    network = build(name, (1, side, side), 6)
    assert network.eval()(torch.rand(1, 1, side, side)).shape == (1, 6)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_left_out(name: str) -> None:
    network = build(name, (3, 96, 96), 5)
    assert network(torch.rand(2, 3, 96, 96)).shape == (2, 5)


def test_a_size_that_the_patches_do_not_divide_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"vit_b_32 cannot be built for images of shape \[3, 30, 30\]") as caught:
        build("vit_b_32", (3, 30, 30), 10)
    assert "\n" not in str(caught.value)
