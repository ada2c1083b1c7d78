from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from db3.digest import digest_arrays
from db3.errors import ConfigError
from db3.networks import NAMES, Network, build


def weights(network: nn.Module) -> str:
    return digest_arrays({name: tensor.numpy() for name, tensor in network.state_dict().items()})


@pytest.mark.parametrize("name", [name for name in NAMES if name != "alexnet"])
def test_every_name_builds_in_training_mode(name: str) -> None:
    network = build(name, (3, 32, 32), 10)
    assert isinstance(network, Network)
    assert all(module.training for module in network.modules())
    assert network.eval()(torch.rand(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("name", ["lenet5_half", "alexnet_quarter", "shufflenet_v2_x0_5"])
def test_first_weights_depend_on_the_seed_alone(name: str) -> None:
    torch.manual_seed(1)
    first = weights(build(name, (3, 32, 32), 10, seed=5))
    torch.rand(100)
    assert weights(build(name, (3, 32, 32), 10, seed=5)) == first
    assert weights(build(name, (3, 32, 32), 10, seed=6)) != first


def test_global_generator_is_left_as_it_was() -> None:
    before = torch.get_rng_state()
    build("lenet5", (1, 28, 28), 10, seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_do_not_disturb_each_other() -> None:
    seeds = range(24)
    alone = [weights(build("lenet5", (1, 28, 28), 10, seed=seed)) for seed in seeds]
    with ThreadPoolExecutor(8) as pool:
        together = pool.map(lambda seed: weights(build("lenet5", (1, 28, 28), 10, seed=seed)), seeds)
    assert list(together) == alone


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("lenet5half", "did you mean lenet5_half"),
        ("resnet19", "did you mean resnet9"),
        ("zzz", "known here: "),
        ("fcn_resnet50", "did you mean"),  # torchvision's, but no classifier
    ],
)
def test_unknown_names_suggest_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown architecture '{name}'; {hint}"):
        build(name, (3, 32, 32), 10)


def test_impossible_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="1 class was asked for"):
        build("lenet5", (1, 28, 28), 1)
    with pytest.raises(ConfigError, match=r"input shape is \[0, 28, 28\]"):
        build("lenet5", (0, 28, 28), 10)
