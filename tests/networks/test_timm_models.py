"""timm's classifiers by name: built here, never fetched, begun from a file of this machine where one is named."""

import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from db3.errors import ConfigError, DataError
from db3.networks import build, count_parameters, read_initial_weights, save_weights
from db3.settings.training import DistillSettings

timm = pytest.importorskip("timm", reason="needs the extra timm", exc_type=ImportError)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network was built by way of a network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("timm/resnet10t", (1, 32, 32)),
        ("timm/mobilenetv3_small_050", (1, 32, 32)),
        ("timm/test_vit", (3, 48, 48)),  # made for one size, 160x160 if no other is said
        ("timm/test_convnext", (4, 64, 48)),
    ],
)
def test_any_classifier_is_built_for_the_images_at_hand(name: str, shape: tuple[int, int, int]) -> None:
    network = build(name, shape, 7)
    assert network.eval()(torch.rand(2, *shape)).shape == (2, 7)
    again = build(name, shape, 7)
    other = build(name, shape, 7, seed=1)
    same, differ = (
        all(torch.equal(a, b) for a, b in zip(network.parameters(), it.parameters(), strict=True))
        for it in (again, other)
    )
    assert (same, differ) == (True, False)


def test_it_is_timms_own_network() -> None:
    network = build("timm/resnet10t", (3, 32, 32), 10)
    assert count_parameters(network) == sum(
        weights.numel() for weights in timm.create_model("resnet10t", num_classes=10).parameters()
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("timm/resnet10tt", "unknown architecture 'timm/resnet10tt'; did you mean timm/resnet10t?"),
        ("timm/?", "unknown architecture 'timm/?'; timm.list_models() lists all 1,"),
        ("timm/resnet18.a1_in1k", "timm would download, and db3 downloads none: take timm/resnet18, and name a"),
        ("timm/hf-hub:org/model", "timm would download, and db3 downloads none: take timm/ and a name of"),
    ],
)
def test_a_name_that_cannot_be_is_one_line(name: str, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build(name, (3, 32, 32), 10)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


def test_images_that_do_not_fit_are_one_line() -> None:
    with pytest.raises(
        ConfigError, match=r"\[1, 30, 30\].* do not fit timm/test_vit .*divisible by patch size"
    ) as raised:
        build("timm/test_vit", (1, 30, 30), 10)
    assert "\n" not in str(raised.value)


def test_exact_arithmetic_is_refused_before_anything_else() -> None:
    with pytest.raises(ConfigError, match=r"arithmetic is exact.*timm/resnet10t.*set distill.arithmetic to float32"):
        DistillSettings(architecture="timm/resnet10t")
    assert DistillSettings(architecture="timm/resnet10t", arithmetic="float32").arithmetic == "float32"


def test_weights_of_other_classes_and_colours_are_a_beginning(tmp_path: Path) -> None:
    made_for = timm.create_model("resnet10t", num_classes=1000).eval()
    save_file(made_for.state_dict(), tmp_path / "resnet10t.safetensors")
    network = build("timm/resnet10t", (1, 32, 32), 10)
    own = network.body.get_classifier().weight.clone()
    found = read_initial_weights(tmp_path / "resnet10t.safetensors", network, 10)
    network.load_state_dict({**network.state_dict(), **found})
    assert torch.equal(network.body.get_classifier().weight, own)
    grey = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(
        network.eval().body.forward_features(grey),
        made_for.forward_features(grey.expand(-1, 3, -1, -1)),
        atol=1e-4,
        rtol=1e-4,
    )


def test_weights_of_another_architecture_are_none(tmp_path: Path) -> None:
    save_weights(build("lenet5_half", (1, 28, 28), 10), tmp_path / "lenet.safetensors", {"architecture": "lenet5_half"})
    network = build("timm/resnet10t", (1, 28, 28), 10)
    with pytest.raises(DataError, match=r"lenet.safetensors is of another architecture .* its own, 'lenet5_half'"):
        read_initial_weights(tmp_path / "lenet.safetensors", network, 10)
    with pytest.raises(DataError, match=r"no .safetensors file"):
        read_initial_weights("weights.pth", network, 10)
