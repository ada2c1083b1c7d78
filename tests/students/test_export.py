import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from db3.errors import ConfigError, Db3Error
from db3.networks import build
from db3.students import export
from db3.students.export import check_parity, export_onnx

_IMAGES = np.random.default_rng(0).integers(0, 256, (70, 1, 28, 28), dtype=np.uint8)
_SCRIPT = """
import sys
from pathlib import Path
from db3.networks import build
from db3.students.export import export_onnx
Path(sys.argv[1]).write_bytes(export_onnx(build("lenet5_fifth", (1, 28, 28), 10, mean=[0.2], std=[0.4]), (1, 28, 28)))
"""


@pytest.fixture(scope="module")
def student() -> nn.Module:
    return build("lenet5_fifth", (1, 28, 28), 10, mean=[0.2], std=[0.4])


@pytest.fixture(scope="module")
def model(student: nn.Module) -> bytes:
    return export_onnx(student, (1, 28, 28))


def test_the_file_is_valid_and_has_the_promised_interface(model: bytes) -> None:
    proto = onnx.load_from_string(model)
    onnx.checker.check_model(proto, full_check=True)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", export.OPSET)]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape[1:]) == ("images", "tensor(float)", [1, 28, 28])
    assert isinstance(images.shape[0], str)  # a name: any number of images
    assert (logits.name, logits.shape[1]) == ("logits", 10)


@pytest.mark.parametrize("count", [1, 2, 70])
def test_it_answers_any_number_of_images_as_pytorch_does(model: bytes, student: nn.Module, count: int) -> None:
    images = _IMAGES[:count].astype(np.float32) / 255
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images})
    with torch.inference_mode():
        expected = student.eval()(torch.from_numpy(images)).numpy()
    assert logits == pytest.approx(expected, abs=1e-5)


def test_the_bytes_are_the_same_in_another_process_and_folder(model: bytes, tmp_path: Path) -> None:
    file = tmp_path / "there.onnx"
    environment = {**os.environ, "PYTHONPATH": str(Path(export.__file__).parents[2]), "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", _SCRIPT, str(file)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert file.read_bytes() == model
    assert done.stdout + done.stderr == ""


def test_no_path_and_no_class_name_stays_in_the_file(model: bytes) -> None:
    for trace in (b".py", b"site-packages", b"db3.networks", b"torch.nn", b"aten", str(Path.home()).encode() + b"/"):
        assert trace not in model


def test_exporting_leaves_the_network_and_the_console_alone(capfd: pytest.CaptureFixture[str]) -> None:
    network = build("lenet5_fifth", (1, 28, 28), 10).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    export_onnx(network, (1, 28, 28))
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert capfd.readouterr() == ("", "")


def test_batch_normalisation_is_exported_as_it_evaluates() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(2028, 4))
    network.train()(torch.rand(16, 1, 28, 28))  # moves the running statistics
    assert check_parity(export_onnx(network, (1, 28, 28)), network, _IMAGES).max_difference < 1e-5


def test_parity_is_measured_over_all_images(model: bytes, student: nn.Module) -> None:
    parity = check_parity(model, student, np.tile(_IMAGES, (5, 1, 1, 1)))
    assert parity.checked == 350
    assert 0 <= parity.max_difference < 1e-5


def test_another_networks_file_is_refused(model: bytes) -> None:
    other = build("lenet5_fifth", (1, 28, 28), 10, mean=[0.2], std=[0.4], seed=1)
    with pytest.raises(Db3Error, match=r"differs from PyTorch by .* on 70 samples; expected at most .*distill\.onnx"):
        check_parity(model, other, _IMAGES)


def test_nan_is_no_agreement(model: bytes, student: nn.Module) -> None:
    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return student(images) * float("nan")

    with pytest.raises(Db3Error, match="differs from PyTorch by nan"):
        check_parity(model, Broken(), _IMAGES)


def test_a_missing_extra_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, student: nn.Module) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"onnxscript, .*: pip install 'db3\[onnx\]', or set distill"):
        export_onnx(student, (1, 28, 28))
