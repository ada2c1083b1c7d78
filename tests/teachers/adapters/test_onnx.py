"""ONNX files of many forms, run by onnxruntime."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from db3.errors import ConfigError, DataError, TeacherError
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.foreign_model import ModelDescription
from db3.teachers.adapters.http_settings import Link
from db3.teachers.adapters.onnx import OnnxTeacher, fetch_onnx
from db3.teachers.adapters.onnx_weights import count_weights
from db3.teachers.adapters.preprocessing import Preprocessing
from db3.teachers.base import TeacherSpec
from tests.contracts.teacher import TeacherContract
from tests.teachers.models import SPEC, as_onnx, brightest_pixel, graph, network, pixels, tensor

ROW = TeacherSpec((1, 1, 4), (0.0, 1.0), 4, 3, "four pixels")
BRIGHT = torch.tensor([[0.1, 0.9, 0.9, 0.0], [0.0, 0.0, 0.0, 0.5], [0.5, 0.5, 0.5, 0.5]]).view(3, 1, 1, 4)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_onnx(tmp_path_factory.mktemp("onnx") / "lenet.onnx", network())


class TestOnnxTeacher(TeacherContract):
    EXTRA = frozenset({"fixed_batch", "names"})

    @pytest.fixture
    def teacher(self, file: Path) -> OnnxTeacher:
        return OnnxTeacher(file, SPEC)

    def test_it_decides_as_its_network(self, teacher: OnnxTeacher) -> None:
        images = pixels(64)
        with torch.inference_mode():
            assert torch.equal(Batching(teacher).decide(images), network()(images).argmax(dim=1))


@pytest.mark.parametrize("index", [False, True], ids=["scores", "integer class"])
@pytest.mark.parametrize("rows", ["n", 3], ids=["dynamic", "fixed"])
def test_forms_of_output_and_batch(tmp_path: Path, index: bool, rows: int | str) -> None:
    teacher = OnnxTeacher(brightest_pixel(tmp_path / "m.onnx", rows, index=index), ROW)
    assert teacher.decide(BRIGHT).tolist() == [1, 3, 0]
    assert teacher.fixed_batch == (3 if rows == 3 else None)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(TensorProto.UINT8, "uint8"), (TensorProto.FLOAT16, "float16"), (TensorProto.DOUBLE, "float64")],
)
def test_types_of_pixels(tmp_path: Path, kind: int, dtype: str) -> None:
    scale = 255.0 if dtype == "uint8" else 1.0
    file = brightest_pixel(tmp_path / "m.onnx", kind=kind)
    assert OnnxTeacher(file, ROW, Preprocessing(scale=scale, dtype=dtype)).decide(BRIGHT).tolist() == [1, 3, 0]
    with pytest.raises(ConfigError, match=rf"teacher\.dtype is float32: set teacher\.dtype={dtype}"):
        OnnxTeacher(file, ROW)


def test_channels_last(tmp_path: Path) -> None:
    nodes = [helper.make_node("Flatten", ["x"], ["y"], axis=1)]
    file = graph(tmp_path / "m.onnx", [tensor("x", ["n", 1, 2, 3])], nodes, [tensor("y", ["n", 6])])
    spec = TeacherSpec((3, 1, 2), (0.0, 1.0), 6, 4, "six pixels")
    message = r"takes images of shape \[n, 1, 2, 3\], but would be shown \[n, 3, 1, 2\]: set teacher\.layout=NHWC$"
    with pytest.raises(ConfigError, match=message):
        OnnxTeacher(file, spec)
    image = torch.zeros(1, 3, 1, 2)
    image[0, 1, 0, 1] = 1  # channel 1 of the second column: place 3 + 1
    assert OnnxTeacher(file, spec, Preprocessing(layout="NHWC")).decide(image).tolist() == [4]


def test_names_are_needed_where_there_are_several(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["scores"], axis=1),
        helper.make_node("ArgMin", ["scores"], ["darkest"], axis=1, keepdims=0),
    ]
    outputs = [tensor("scores", ["n", 4]), tensor("darkest", ["n"], TensorProto.INT64)]
    file = graph(tmp_path / "m.onnx", [tensor("x", ["n", 1, 1, 4])], nodes, outputs)
    with pytest.raises(ConfigError, match=r"has 2 outputs; expected one of scores, darkest: set teacher\.output"):
        OnnxTeacher(file, ROW)
    with pytest.raises(ConfigError, match="has no input 'pixels'; expected one of x"):
        OnnxTeacher(file, ROW, input="pixels", output="scores")
    assert OnnxTeacher(file, ROW, output="darkest").decide(BRIGHT).tolist() == [3, 0, 0]


def test_a_model_of_two_inputs_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "z"], ["y"])]
    inputs = [tensor("x", ["n", 1, 1, 4]), tensor("z", ["n", 1, 1, 4])]
    file = graph(tmp_path / "m.onnx", inputs, nodes, [tensor("y", ["n", 1, 1, 4])])
    with pytest.raises(ConfigError, match="needs the inputs x, z"):
        OnnxTeacher(file, ROW, input="x")


def test_class_names_as_output(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["scores"], axis=1),
        helper.make_node("ArgMax", ["scores"], ["place"], axis=1, keepdims=0),
        helper.make_node("Gather", ["names", "place"], ["label"]),
    ]
    names = helper.make_tensor("names", TensorProto.STRING, [4], [b"a", b"b", b"c", b"d"])
    made = helper.make_graph(
        nodes, "names", [tensor("x", ["n", 1, 1, 4])], [tensor("label", ["n"], TensorProto.STRING)], [names]
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert OnnxTeacher(tmp_path / "m.onnx", ROW, labels=("d", "c", "b", "a")).decide(BRIGHT).tolist() == [2, 0, 3]


def test_another_number_of_classes_is_named(tmp_path: Path) -> None:
    file = brightest_pixel(tmp_path / "m.onnx")
    spec = TeacherSpec((1, 1, 4), (0.0, 1.0), 10, 3, "ten of four")
    with pytest.raises(
        ConfigError, match=r"tells 4 classes apart, not 10: set teacher\.classes=4, or list in teacher\.classes_map"
    ):
        OnnxTeacher(file, spec)


@pytest.mark.parametrize("content", [b"", b"no protobuf at all", b"\x08\x08"])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(DataError, match=r"m\.onnx") as raised:
        OnnxTeacher(tmp_path / "m.onnx", ROW)
    assert "\n" not in str(raised.value)


def test_a_model_that_fails_when_it_runs_is_one_line(tmp_path: Path) -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [2, 4])  # right for two images only
    made = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "two",
        [tensor("x", ["n", 1, 1, 4])],
        [tensor("y", ["m", 4])],
        [shape],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    teacher = OnnxTeacher(tmp_path / "m.onnx", ROW)
    assert teacher.decide(BRIGHT[:2]).tolist() == [1, 3]
    with pytest.raises(TeacherError, match="failed on 3 images") as raised:
        teacher.decide(BRIGHT)
    assert "\n" not in str(raised.value)


def test_no_cuda_is_one_line(tmp_path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(ConfigError, match="has no CUDA: install onnxruntime-gpu"):
        OnnxTeacher(brightest_pixel(tmp_path / "m.onnx"), ROW, device="cuda")


def description(checkpoint: Path, **more: object) -> ModelDescription:
    return ModelDescription("onnx", ROW.input_shape, ROW.classes, tuple("abcd"), 3, checkpoint=checkpoint, **more)  # type: ignore[arg-type]


def test_fetching_keeps_the_file_and_tells_its_interface(tmp_path: Path) -> None:
    file = brightest_pixel(tmp_path / "m.onnx", 2)
    fetched = fetch_onnx(description(file), tmp_path / "teacher", Link())
    assert (tmp_path / "teacher/model/model.onnx").read_bytes() == file.read_bytes()
    assert fetched.model == {"input": "images", "output": "scores"}
    assert fetched.call_batch == 2


def test_external_weights_travel_with_the_file(tmp_path: Path) -> None:
    weights = np.eye(4, dtype=np.float32)[::-1].copy()
    made = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"], axis=1), helper.make_node("MatMul", ["f", "w"], ["y"])],
        "external",
        [tensor("x", ["n", 1, 1, 4])],
        [tensor("y", ["n", 4])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file = tmp_path / "m.onnx"
    onnx.save(model, str(file), save_as_external_data=True, location="m.weights", size_threshold=0)
    assert fetch_onnx(description(file), tmp_path / "teacher", Link()).parameters == 16
    kept = OnnxTeacher(tmp_path / "teacher/model/model.onnx", ROW)
    assert kept.decide(BRIGHT).tolist() == [1, 0, 0]
    (tmp_path / "m.weights").rename(tmp_path / "lost")
    with pytest.raises(DataError, match=r"m\.weights: No such file"):
        fetch_onnx(description(file), tmp_path / "again", Link())


def test_external_weights_are_taken_from_beside_the_file_alone(tmp_path: Path) -> None:
    """A link leads anywhere; a folder of links to one store, as download caches lay it out, is as good as the files."""
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").mkdir()
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"], axis=1), helper.make_node("MatMul", ["f", "w"], ["y"])],
        "external",
        [tensor("x", ["n", 1, 1, 4])],
        [tensor("y", ["n", 4])],
        [onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "real/m.onnx"), save_as_external_data=True, location="m.weights", size_threshold=0)
    for name in ("m.onnx", "m.weights"):
        (tmp_path / "linked" / name).symlink_to(tmp_path / "real" / name)
    fetch_onnx(description(tmp_path / "linked/m.onnx"), tmp_path / "teacher", Link())
    (tmp_path / "real/m.weights").rename(tmp_path / "secret")
    (tmp_path / "real/m.weights").symlink_to(tmp_path / "secret")
    for folder in ("real", "linked"):
        with pytest.raises(DataError, match=r"m\.weights, outside its folder; expected them beside it"):
            fetch_onnx(description(tmp_path / folder / "m.onnx"), tmp_path / "again", Link())


def test_onnxruntime_keeps_nothing_in_the_home_folder(tmp_path: Path) -> None:
    code = "from db3.teachers.adapters.onnx import OnnxTeacher; import onnxruntime"
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "ORT_DISABLE_TELEMETRY"):
        environment.pop(name, None)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.onnx: no such file"):
        fetch_onnx(description(tmp_path / "nothing.onnx"), tmp_path / "teacher", Link())


def forest(path: Path, names: list[str], zipmap: bool) -> Path:
    """Two trees of scikit-learn's kind on rows of four pixels, as skl2onnx writes them, with names in sorted order.

    Either tree asks whether pixel i is brighter than a half, i = 0 … 3 in turn, and votes for class i of `wanted`.
    """
    places = {name: place for place, name in enumerate(sorted(names))}
    nodes: dict[str, list[Any]] = {name: [] for name in ("tree", "id", "feature", "value", "mode", "yes", "no")}
    leaves: dict[str, list[Any]] = {name: [] for name in ("tree", "node", "class", "weight")}
    for tree in (0, 1):
        for pixel in range(4):
            branch, leaf = 2 * pixel, 2 * pixel + 1
            last = pixel == 3
            for name, value in zip(
                nodes, (tree, branch, pixel, 0.5, "BRANCH_GT", leaf, 8 if last else branch + 2), strict=True
            ):
                nodes[name].append(value)
            for name, value in zip(nodes, (tree, leaf, 0, 0.0, "LEAF", 0, 0), strict=True):
                nodes[name].append(value)
            for name, value in zip(leaves, (tree, leaf, places[names[pixel]], 0.5), strict=True):
                leaves[name].append(value)
        for name, value in zip(nodes, (tree, 8, 0, 0.0, "LEAF", 0, 0), strict=True):
            nodes[name].append(value)
        for name, value in zip(leaves, (tree, 8, places[names[0]], 0.5), strict=True):
            leaves[name].append(value)
    ensemble = helper.make_node(
        "TreeEnsembleClassifier",
        ["X"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        classlabels_strings=sorted(names),
        nodes_treeids=nodes["tree"],
        nodes_nodeids=nodes["id"],
        nodes_featureids=nodes["feature"],
        nodes_values=nodes["value"],
        nodes_hitrates=[1.0] * len(nodes["value"]),
        nodes_modes=nodes["mode"],
        nodes_truenodeids=nodes["yes"],
        nodes_falsenodeids=nodes["no"],
        class_treeids=leaves["tree"],
        class_nodeids=leaves["node"],
        class_ids=leaves["class"],
        class_weights=leaves["weight"],
        post_transform="NONE",
    )
    outputs = [tensor("label", [None], TensorProto.STRING), tensor("probabilities", [None, 4])]
    made = [ensemble]
    if zipmap:
        made.append(
            helper.make_node(
                "ZipMap", ["probabilities"], ["maps"], domain="ai.onnx.ml", classlabels_strings=sorted(names)
            )
        )
        entry = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        outputs[1] = helper.make_value_info("maps", helper.make_sequence_type_proto(entry))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    graph = helper.make_graph(made, "forest", [tensor("X", [None, 4])], outputs)
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    return path


NAMED = ["cow", "bee", "dog", "ant"]  # of classes 0 … 3; scikit-learn sorts them
LIT = torch.eye(4)[[2, 0, 3, 1]].view(4, 1, 1, 4)
FLAT = Preprocessing(layout="flat")


@pytest.mark.parametrize("zipmap", [True, False])
def test_a_random_forest_of_scikit_learn_works_as_it_is(tmp_path: Path, zipmap: bool) -> None:
    """Flat input, names in another order than the classes, beside them scores as mappings or columns."""
    file = forest(tmp_path / "forest.onnx", NAMED, zipmap)
    output = None if zipmap else "label"
    with pytest.raises(ConfigError, match=r"takes images of shape \[n, 4\], .*: set teacher\.layout=flat$"):
        OnnxTeacher(file, ROW, output=output)
    teacher = OnnxTeacher(file, ROW, FLAT, labels=NAMED, output=output)
    assert teacher.decide(LIT).tolist() == [2, 0, 3, 1]
    made = description(file, preprocessing=FLAT, output=output)
    with pytest.raises(TeacherError, match=r"answered 'cow'; expected one of a, b, c, d: list them in teacher\.labels"):
        fetch_onnx(made, tmp_path / "unnamed", Link())
    fetched = fetch_onnx(replace(made, labels=tuple(NAMED)), tmp_path / "teacher", Link())
    assert fetched.parameters == 2 * (4 + 5)  # of each tree four thresholds and five leaves


def test_the_scores_of_a_random_forest_are_mapped(tmp_path: Path) -> None:
    file = forest(tmp_path / "forest.onnx", NAMED, zipmap=False)
    plain = OnnxTeacher(file, ROW, FLAT, output="probabilities")
    assert plain.decide(LIT).tolist() == [3, 2, 0, 1]  # dog is the fourth of the sorted names
    teacher = OnnxTeacher(file, ROW, FLAT, output="probabilities", classes_map=[3, 1, 0, 2])
    assert teacher.decide(LIT).tolist() == [2, 0, 3, 1]


def test_a_model_of_more_classes_is_mapped_to_ours(tmp_path: Path) -> None:
    file = brightest_pixel(tmp_path / "m.onnx")
    spec = replace(ROW, classes=2)
    with pytest.raises(ConfigError, match=r"tells 4 classes apart, not 2"):
        OnnxTeacher(file, spec)
    assert OnnxTeacher(file, spec, classes_map=[0, None, 1, 0]).decide(LIT).tolist() == [1, 0, 0, 0]


def test_blue_comes_first_and_channels_come_last(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    file = graph(tmp_path / "m.onnx", [tensor("x", ["n", 6])], nodes, [tensor("y", ["n", 6])])
    spec = TeacherSpec((3, 1, 2), (0.0, 1.0), 6, 6, "six values")
    with pytest.raises(ConfigError, match=r"set teacher\.layout=flat \(or flat_NHWC, where its channels come last\)$"):
        OnnxTeacher(file, spec)
    images = torch.eye(6).view(6, 3, 1, 2)  # image i: channel i // 2 of column i % 2
    orders = {
        ("flat", "rgb"): [0, 1, 2, 3, 4, 5],
        ("flat_NHWC", "rgb"): [0, 3, 1, 4, 2, 5],
        ("flat", "bgr"): [4, 5, 2, 3, 0, 1],
        ("flat_NHWC", "bgr"): [2, 5, 1, 4, 0, 3],
    }
    for (layout, order), expected in orders.items():
        see = Preprocessing(layout=layout, channels_order=order)  # type: ignore[arg-type]
        assert OnnxTeacher(file, spec, see).decide(images).tolist() == expected


def test_another_size_is_named_by_its_one_setting(tmp_path: Path) -> None:
    file = graph(
        tmp_path / "m.onnx",
        [tensor("x", ["n", 1, 8, 6])],
        [helper.make_node("Flatten", ["x"], ["y"], axis=1)],
        [tensor("y", ["n", 48])],
    )
    with pytest.raises(ConfigError, match=r"would be shown \[n, 1, 1, 4\]: set teacher\.resize=\[8,6\]$"):
        OnnxTeacher(file, replace(ROW, classes=48))


def _weighing(path: Path, constant: bool) -> Path:
    """A matrix of 4 × 4 and a shape of two integers, as constants or as initializers."""
    weights = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    shape = numpy_helper.from_array(np.array([-1, 4], np.int64), "shape")
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    held = [weights, shape]
    if constant:
        nodes = [helper.make_node("Constant", [], [entry.name], value=entry) for entry in held] + nodes
    made = helper.make_graph(
        nodes, "weighing", [tensor("x", ["n", 1, 1, 4])], [tensor("y", ["n", 4])], [] if constant else held
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("constant", [True, False], ids=["constants", "initializers"])
def test_weights_are_counted_wherever_they_are_and_shapes_are_not(tmp_path: Path, constant: bool) -> None:
    file = _weighing(tmp_path / "m.onnx", constant)
    assert fetch_onnx(description(file), tmp_path / "teacher", Link()).parameters == 16


def test_a_model_without_countable_weights_is_of_unknown_size(tmp_path: Path) -> None:
    assert fetch_onnx(description(brightest_pixel(tmp_path / "m.onnx")), tmp_path / "t", Link()).parameters is None


def test_weights_of_inner_graphs_are_counted() -> None:
    inner = helper.make_graph([], "inner", [], [], [numpy_helper.from_array(np.zeros((2, 3), np.float32), "w")])
    choice = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    linear = helper.make_node("LinearClassifier", ["x"], ["l", "p"], domain="ai.onnx.ml", coefficients=[0.1] * 8)
    model = helper.make_model(helper.make_graph([choice, linear], "outer", [], []))
    assert count_weights(model) == 2 * 6 + 8
