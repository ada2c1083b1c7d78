"""The int8 file: other numbers, the same interface, and nothing that another runtime would not take."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from db3.images.priors import prior_images
from db3.networks import build
from db3.students import export
from db3.students.export import export_onnx
from db3.students.int8 import check_int8, onnx_decisions, quantise_onnx

SHAPE = (1, 28, 28)
# In the lists of both: operators.md of github.com/onnx/onnx-tensorrt, which begins at opset 9, and OperatorKernels.md
# of github.com/microsoft/onnxruntime, whose CPU kernels onnxruntime-web holds.
OPERATORS = {
    "Add",
    "BatchNormalization",
    "Conv",
    "Div",
    "Gemm",
    "MaxPool",
    "Mul",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Sub",
}
PAIRS = {"QuantizeLinear", "DequantizeLinear"}
IMAGES = prior_images(SHAPE, range(96), 0)


@pytest.fixture(scope="module")
def model() -> bytes:
    return export_onnx(build("lenet5_half", SHAPE, 10), SHAPE)


@pytest.fixture(scope="module")
def quantised(model: bytes) -> bytes:
    return quantise_onnx(model, IMAGES[:64])


def test_it_is_smaller_and_decides_nearly_the_same(model: bytes, quantised: bytes) -> None:
    facts = check_int8(quantised, model, IMAGES)
    assert (facts.checked, facts.bytes, facts.float32_bytes) == (96, len(quantised), len(model))
    assert facts.bytes < 0.45 * facts.float32_bytes
    assert facts.alike > 80  # of a network that has learnt nothing, whose logits are near to each other


def test_both_files_have_one_opset_and_a_named_batch(model: bytes, quantised: bytes) -> None:
    """Opset 18 and operators of the default domain alone: what onnxruntime-web and TensorRT's parser take."""
    for content in (model, quantised):
        proto = onnx.load_from_string(content)
        onnx.checker.check_model(proto, full_check=True)
        assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", export.OPSET)]
        assert {node.domain for node in proto.graph.node} <= {"", "ai.onnx"}
        for value in (*proto.graph.input, *proto.graph.output):
            assert value.type.tensor_type.shape.dim[0].dim_param == "n"


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        ("lenet5_fifth", SHAPE),
        ("compact", (3, 32, 32)),
        ("alexnet_quarter", (3, 32, 32)),
        ("resnet9_quarter", (3, 32, 32)),
        ("resnet18", (3, 32, 32)),
    ],
)
def test_every_operator_is_one_that_browsers_and_tensorrt_take(architecture: str, shape: tuple[int, int, int]) -> None:
    """Read off the files: plain layers, quantisation by pairs, numbers of the plain types, shapes known but for n."""
    plain = export_onnx(build(architecture, shape, 10), shape)
    quantised = quantise_onnx(plain, prior_images(shape, range(8), 0))
    for content, ops, types in (
        (plain, OPERATORS, {TensorProto.FLOAT, TensorProto.INT64}),
        (quantised, OPERATORS | PAIRS, {TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT8}),
    ):
        proto = onnx.load_from_string(content)
        assert {node.op_type for node in proto.graph.node} <= ops
        assert {tensor.data_type for tensor in proto.graph.initializer} <= types
        assert not any(attribute.g.node for node in proto.graph.node for attribute in node.attribute)  # no control flow
        assert 9 <= proto.opset_import[0].version <= 20
        assert proto.ir_version <= 10
        named = [dim for value in proto.graph.value_info for dim in value.type.tensor_type.shape.dim]
        assert {dim.dim_param for dim in named if dim.dim_param} <= {"n"}
        for value in (*proto.graph.input, *proto.graph.output):
            batch, *others = value.type.tensor_type.shape.dim
            assert batch.dim_param == "n"
            assert all(dim.dim_value > 0 for dim in others)
    assert {node.op_type for node in onnx.load_from_string(quantised).graph.node} >= PAIRS


def test_weights_are_int8_with_zero_points_of_zero(quantised: bytes) -> None:
    proto = onnx.load_from_string(quantised)
    points = {node.input[2] for node in proto.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    kept = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    assert points
    assert all(not kept[name].any() for name in points)
    assert {kept[name].dtype for name in points} == {np.dtype(np.int8)}  # TensorRT takes no int32 of biases


@pytest.mark.parametrize("count", [1, 3, 70])
def test_any_number_of_images_is_taken_and_the_logits_are_floats(quantised: bytes, count: int) -> None:
    assert onnx_decisions(quantised, IMAGES[:count]).shape == (count,)
    (logits,) = onnxruntime.InferenceSession(quantised, providers=["CPUExecutionProvider"]).get_outputs()
    assert (logits.name, logits.type) == ("logits", "tensor(float)")


def test_the_same_images_give_the_same_bytes_and_no_word(
    model: bytes, quantised: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    assert quantise_onnx(model, IMAGES[:64]) == quantised
    assert capfd.readouterr() == ("", "")


def test_no_trace_of_this_machine_is_left(quantised: bytes) -> None:
    for trace in (b"/tmp", str(Path.home()).encode() + b"/"):
        assert trace not in quantised
