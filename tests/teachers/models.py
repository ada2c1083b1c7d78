"""The same small network as every kind of file, and hand-made ONNX graphs with a known answer."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from db3.networks import build
from db3.students.export import export_onnx
from db3.teachers.base import TeacherSpec

SHAPE = (1, 16, 16)
CLASSES = 10
SPEC = TeacherSpec(SHAPE, (0.0, 1.0), CLASSES, 8, "lenet5_half, untrained")


def network(seed: int = 0) -> nn.Module:
    return build("lenet5_half", SHAPE, CLASSES, mean=[0.5], std=[0.1], seed=seed).eval()


def pixels(count: int, seed: int = 1, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def as_onnx(path: Path, module: nn.Module) -> Path:
    path.write_bytes(export_onnx(module, SHAPE))
    return path


def as_pt2(path: Path, module: nn.Module, rows: int | None = None) -> Path:
    """A torch.export archive; `rows` fixes the number of images of a call."""
    dynamic = None if rows else ({0: torch.export.Dim("n", min=1, max=4096)},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(module, (torch.rand(rows or 2, *SHAPE),), dynamic_shapes=dynamic), path)
    return path


def as_script(path: Path, module: nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(module, torch.rand(2, *SHAPE)), path)
    return path


def graph(path: Path, inputs: Sequence[Any], nodes: Sequence[Any], outputs: Sequence[Any]) -> Path:
    """An ONNX file made by hand."""
    made = helper.make_graph(list(nodes), "by hand", list(inputs), list(outputs))
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def tensor(name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def brightest_pixel(path: Path, rows: int | str = "n", kind: int = TensorProto.FLOAT, index: bool = False) -> Path:
    """Of 1x1x4 images: the pixels as scores, or (index) the place of the brightest as an integer [n, 1]."""
    nodes = [helper.make_node("Flatten", ["images"], ["flat"], axis=1)]
    if kind != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", ["flat"], ["floats"], to=TensorProto.FLOAT))
    scores = nodes[-1].output[0]
    if index:
        nodes.append(helper.make_node("ArgMax", [scores], ["label"], axis=1, keepdims=1))
        told = tensor("label", [rows, 1], TensorProto.INT64)
    else:
        nodes.append(helper.make_node("Identity", [scores], ["scores"]))
        told = tensor("scores", [rows, 4])
    return graph(path, [tensor("images", [rows, 1, 1, 4], kind)], nodes, [told])
