import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from db3.errors import DataError
from db3.networks import build, load_weights, save_weights
from db3.networks.weights import read_initial_weights

SHAPE = (1, 28, 28)
METADATA = {"architecture": "lenet5_fifth", "classes": 10, "input_shape": [1, 28, 28], "names": ["é", "b"]}


def student(seed: int = 0, **options: list[float]) -> nn.Module:
    return build("lenet5_fifth", SHAPE, 10, seed=seed, **options)


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == twin and torch.equal(tensor, copy) for (name, tensor), (twin, copy) in pairs)


class Intruder:
    """Unpickling it runs code, here harmless."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("unpickled",))


def test_weights_and_metadata_come_back(tmp_path: Path) -> None:
    written, read = student(1, mean=[0.1], std=[0.3]), student(2)
    save_weights(written, tmp_path / "w.safetensors", METADATA)
    assert load_weights(read, tmp_path / "w.safetensors") == METADATA
    assert same(written, read)
    assert read.normalise.std.item() == pytest.approx(0.3)


def test_bytes_are_the_same_every_time(tmp_path: Path) -> None:
    paths = [tmp_path / f"{place}.safetensors" for place in range(8)]
    for path, metadata in zip(paths, 4 * (METADATA, dict(reversed(METADATA.items()))), strict=True):
        save_weights(student(), path, metadata)
    assert len({path.read_bytes() for path in paths}) == 1


def test_one_metadata_key(tmp_path: Path) -> None:
    save_weights(student(), tmp_path / "w.safetensors", METADATA)
    data = (tmp_path / "w.safetensors").read_bytes()
    head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert list(head["__metadata__"]) == ["db3"]


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {name.removeprefix("body."): tensor for name, tensor in state.items() if "normalise" not in name},
        lambda state: {
            "state_dict": {f"module.{name[5:]}": t for name, t in state.items() if name.startswith("body.")}
        },
    ],
)
def test_torch_files_in_their_usual_forms(suffix: str, wrap: Callable[..., object], tmp_path: Path) -> None:
    written, read = student(1, mean=[0.2], std=[0.4]), student(2, mean=[0.2], std=[0.4])
    torch.save(wrap(written.state_dict()), tmp_path / f"w{suffix}")
    assert load_weights(read, tmp_path / f"w{suffix}") == {}
    assert same(written, read)


def test_torchvision_state_dict_loads_by_its_own_names(tmp_path: Path) -> None:
    from torchvision.models import shufflenet_v2_x0_5

    reference = shufflenet_v2_x0_5(weights=None, num_classes=4).eval()
    torch.save(reference.state_dict(), tmp_path / "w.pth")
    network = build("shufflenet_v2_x0_5", (3, 64, 64), 4)
    load_weights(network, tmp_path / "w.pth")
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(network.eval()(images), reference(images))


def test_foreign_safetensors_have_no_metadata(tmp_path: Path) -> None:
    save_file(student(1).state_dict(), tmp_path / "w.safetensors", {"format": "pt"})
    assert load_weights(student(), tmp_path / "w.safetensors") == {}


def test_half_precision_is_widened(tmp_path: Path) -> None:
    written, read = student(1).half(), student()
    save_weights(written, tmp_path / "w.safetensors", {})
    load_weights(read, tmp_path / "w.safetensors")
    assert same(written.float(), read)


def test_python_objects_are_refused_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": student().state_dict(), "intruder": Intruder()}, tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"w.pth holds Python objects besides tensors"):
        load_weights(student(), tmp_path / "w.pth")
    torch.save(student().body, tmp_path / "whole.pth")
    with pytest.raises(DataError, match=r"save network.state_dict"):
        load_weights(student(), tmp_path / "whole.pth")
    assert "unpickled" not in capsys.readouterr().out


def test_another_architecture_is_explained_and_changes_nothing(tmp_path: Path) -> None:
    save_weights(student(1), tmp_path / "w.safetensors", METADATA)
    network, untouched = build("lenet5_half", SHAPE, 10), build("lenet5_half", SHAPE, 10)
    with pytest.raises(
        DataError, match=r"of another shape: body.conv1.weight \[4, 1, 5, 5\] for \[10, 1, 5, 5\]"
    ) as caught:
        load_weights(network, tmp_path / "w.safetensors")
    assert "set architecture to its own, 'lenet5_fifth'" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert same(network, untouched)
    other = build("alexnet_quarter", (1, 28, 28), 10)
    with pytest.raises(DataError, match=r"missing: body.norm1.weight, .* and \d+ more; of another shape"):
        load_weights(other, tmp_path / "w.safetensors")


def test_unexpected_and_missing_names(tmp_path: Path) -> None:
    state = student().state_dict()
    state["body.extra"] = state.pop("body.fc2.bias")
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(DataError, match=r"\(missing: body.fc2.bias; unexpected: body.extra\)"):
        load_weights(student(), tmp_path / "w.safetensors")


def test_normalisation_of_another_shape_is_refused(tmp_path: Path) -> None:
    state = student().state_dict()
    state["normalise.mean"] = torch.zeros(3)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(DataError, match=r"normalise.mean \[3\] for \[1\]"):
        load_weights(student(), tmp_path / "w.safetensors")


def test_nan_is_refused(tmp_path: Path) -> None:
    network = student()
    with torch.no_grad():
        network.body.fc1.bias[3] = float("nan")
    save_weights(network, tmp_path / "w.safetensors", {})
    with pytest.raises(DataError, match=r"holds NaN or infinity in body.fc1.bias"):
        load_weights(student(), tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: data[:0], lambda data: b"junk" * 9 + data]
)
def test_damaged_files_are_one_line(name: str, damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / name
    save_weights(student(), path, {}) if name.endswith("s") else torch.save(student().state_dict(), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=name) as caught:
        load_weights(student(), path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent.safetensors", "absent.pth"])
def test_absent_files_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"cannot read .*{name} \(no such file\)"):
        load_weights(student(), tmp_path / name)


def test_other_contents_are_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(DataError, match="holds list; expected a state_dict"):
        load_weights(student(), tmp_path / "list.pth")
    with pytest.raises(DataError, match=r"w.onnx is no known weights file"):
        load_weights(student(), tmp_path / "w.onnx")


def test_safetensors_holds_every_tensor(tmp_path: Path) -> None:
    save_weights(student(), tmp_path / "w.safetensors", {})
    assert set(load_file(tmp_path / "w.safetensors")) == set(student().state_dict())


def test_a_path_may_be_text(tmp_path: Path) -> None:
    network, other = student(seed=1), student(seed=2)
    save_weights(network, f"{tmp_path}/weights.safetensors", {})
    load_weights(other, f"{tmp_path}/weights.safetensors")
    assert same(network, other)


def test_weights_of_colour_as_db3_writes_them_are_a_beginning_for_grey(tmp_path: Path) -> None:
    colour = build("lenet5_half", (3, 28, 28), 7, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6], seed=1)
    save_weights(colour, tmp_path / "w.safetensors", {})
    grey = build("lenet5_half", (1, 28, 28), 10, mean=[0.7], std=[0.8], seed=2)
    found = read_initial_weights(tmp_path / "w.safetensors", grey, 10)
    assert not {"normalise.mean", "normalise.std"} & found.keys()
    assert torch.equal(found["body.conv1.weight"], colour.body.conv1.weight.detach().sum(dim=1, keepdim=True))
