"""A student as an ONNX file of whole numbers: int8 weights and activations, a quarter of the size.

Needs the extra `onnx`. What it decides is not what the float32 file decides, so it is measured by itself; and where two
of its logits are near to each other, kernels of different processors decide differently.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from db3.digest import digest_bytes
from db3.extras import needs
from db3.pixels import to_floats
from db3.students.export import onnx_session

_CHUNK = 64  # images a call
# Layers that hold weights. All between them stays in float32: in whole numbers it saves nothing and loses accuracy.
_QUANTISED = ["Conv", "Gemm", "MatMul"]


@dataclass(frozen=True)
class Int8Facts:
    """What the int8 file is beside the float32 one.

    Attributes:
        checked: samples that both decided; the ranges of the activations were taken from the same.
        alike: of these, how many they decided alike.
        bytes: of student.int8.onnx.
        float32_bytes: of student.onnx.
        digest: of student.int8.onnx.
    """

    checked: int
    alike: int
    bytes: int
    float32_bytes: int
    digest: str


def quantise_onnx(model: bytes, images: UInt8[np.ndarray, "n c h w"]) -> bytes:
    """The same model in int8: static quantisation by onnxruntime, in the form of QuantizeLinear/DequantizeLinear pairs.

    Weights have a scale for each channel; all zero points are 0 and biases are float32, as TensorRT wants them. Input,
    output, opset and the name of the batch's axis are those of `export_onnx`.

    Args:
        model: as `export_onnx` gives it.
        images: that the ranges of the activations are taken from; some hundred samples.

    Raises:
        ConfigError: the extra `onnx` is not installed.
    """
    with needs("onnx", "int8 export", "set distill.int8: false"):
        quantization = import_module("onnxruntime.quantization")
    symmetric = {"ActivationSymmetric": True, "WeightSymmetric": True}
    with tempfile.TemporaryDirectory() as folder, _quiet():
        plain, quantised = Path(folder) / "plain.onnx", Path(folder) / "quantised.onnx"
        plain.write_bytes(model)
        quantization.quantize_static(
            plain,
            quantised,
            _reader(quantization, images),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=_QUANTISED,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,  # of weights, to 7 bits: sums of 8 saturate on processors without VNNI
            # The logits stay in float32: 256 levels would make ties of them. So do biases: TensorRT's parser takes no
            # int32 ("only activation types allowed", github.com/onnx/onnx-tensorrt/issues/850).
            extra_options={
                **symmetric,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
            },
        )
        return quantised.read_bytes()


def onnx_decisions(model: bytes, images: UInt8[np.ndarray, "n c h w"]) -> Int64[np.ndarray, " n"]:
    """What an exported student decides, by onnxruntime in one thread.

    Raises:
        ConfigError: the extra `onnx` is not installed.
    """
    session = onnx_session(model)
    found = [session.run(["logits"], call)[0].argmax(axis=1) for call in _calls(images)]
    return np.concatenate(found).astype(np.int64) if found else np.empty(0, np.int64)


def _calls(images: UInt8[np.ndarray, "n c h w"]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(images), _CHUNK):
        yield {"images": to_floats(np.ascontiguousarray(images[start : start + _CHUNK])).contiguous().numpy()}


def _reader(quantization: Any, images: UInt8[np.ndarray, "n c h w"]) -> Any:
    """The images as onnxruntime's calibration reads them."""

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = _calls(images)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._left, None)

    return Reader()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice that onnxruntime's quantisation writes to the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def check_int8(quantised: bytes, model: bytes, images: UInt8[np.ndarray, "n c h w"]) -> Int8Facts:
    """How the int8 file is beside the float32 one, on these images.

    Args:
        quantised: as `quantise_onnx` gives it.
        model: what it was made of.
        images: samples.
    """
    alike = int((onnx_decisions(quantised, images) == onnx_decisions(model, images)).sum())
    return Int8Facts(len(images), alike, len(quantised), len(model), digest_bytes(quantised))
