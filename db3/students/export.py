"""A student as an ONNX file: the same bytes wherever it is exported, and checked against PyTorch.

Needs the extra `onnx`. Exporting is not safe in two threads at once (torch.export keeps process-wide state).
"""

import copy
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from db3.errors import Db3Error
from db3.extras import needs
from db3.pixels import to_floats

OPSET = 18
TOLERANCE = 1e-4
"""Largest difference of a logit allowed, as a share of the largest logit (or of 1, if that is larger)."""

_CHUNK = 256
_OTHERWISE = "set distill.onnx: false"


@dataclass(frozen=True)
class Parity:
    """How closely onnxruntime follows PyTorch.

    Attributes:
        max_difference: the largest of a logit.
        checked: images compared.
    """

    max_difference: float
    checked: int


def export_onnx(network: nn.Module, input_shape: tuple[int, int, int]) -> bytes:
    """The network as an ONNX model (opset 18).

    Input `images`: float32 [n, C, H, W] in [0, 1], any n ≥ 1 (the network's own normalisation is part of the graph).
    Output `logits`: float32 [n, K].

    Everything that names a source file, a Python class or a build of torch is removed, so the bytes are a function of
    the network and the exporter's version alone. `network` itself is left as it is.

    Raises:
        ConfigError: the extra `onnx` is not installed.
    """
    with needs("onnx", "ONNX export", _OTHERWISE):
        import_module("onnx")
        import_module("onnxscript")  # by torch's exporter
    program = torch.onnx.export(
        copy.deepcopy(network).cpu().to(memory_format=torch.contiguous_format).eval(),
        # Two images: torch.export takes a dimension of 1 for a constant.
        (torch.zeros(2, *input_shape),),
        input_names=["images"],
        output_names=["logits"],
        opset_version=OPSET,
        dynamic_shapes=({0: torch.export.Dim("n")},),
        external_data=False,
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise TypeError("torch.onnx.export gave no program; db3 relies on dynamo=True returning one")
    model = program.model_proto
    _strip(model)
    model.producer_name, model.producer_version = "db3", ""
    return bytes(model.SerializeToString(deterministic=True))


def check_parity(
    model: bytes, network: nn.Module, images: UInt8[np.ndarray, "n c h w"], tolerance: float = TOLERANCE
) -> Parity:
    """Run the ONNX model and the network on the same images and compare their logits.

    Decisions need no check of their own: where no logit differs by more than the tolerance, two decisions can differ
    only when the two best logits lie within twice the tolerance, that is on a tie.

    Args:
        model: as `export_onnx` gives it.
        network: on the CPU; put in evaluation mode.
        images: real samples.
        tolerance: largest difference allowed, as a share of the largest logit (or of 1, if that is larger).

    Raises:
        ConfigError: the extra `onnx` is not installed.
        Db3Error: a logit differs by more than the tolerance, or is NaN.
    """
    session = onnx_session(model, _OTHERWISE)
    network.eval()
    largest, scale = 0.0, 1.0
    for start in range(0, len(images), _CHUNK):
        batch = to_floats(images[start : start + _CHUNK]).contiguous()
        with torch.inference_mode():
            expected = network(batch).numpy()
        (logits,) = session.run(["logits"], {"images": batch.numpy()})
        largest = float(np.maximum(largest, np.abs(logits - expected).max()))  # keeps NaN, as max() does not
        scale = float(np.maximum(scale, np.abs(expected).max()))
    if not largest <= tolerance * scale:
        raise Db3Error(
            f"the ONNX student differs from PyTorch by {largest:.3g} on {len(images)} samples; expected at most "
            f"{tolerance * scale:.3g}: install the locked versions of torch and onnxruntime, or set distill.onnx: false"
        )
    return Parity(largest, len(images))


def onnx_session(model: bytes, otherwise: str = "") -> Any:
    """An exported student, opened by onnxruntime for one thread of the CPU.

    Args:
        model: as `export_onnx` gives it.
        otherwise: how to do without onnxruntime, where one can.

    Raises:
        ConfigError: the extra `onnx` is not installed.
    """
    with needs("onnx", "ONNX export", otherwise):
        runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _strip(message: Any) -> None:
    """Remove the exporter's notes (stack traces with absolute paths, class names) from a protobuf message, deeply."""
    for field, value in message.ListFields():
        if field.name in {"metadata_props", "doc_string"}:
            message.ClearField(field.name)
        elif field.type == field.TYPE_MESSAGE:
            for part in [value] if hasattr(value, "ListFields") else value:
                _strip(part)
