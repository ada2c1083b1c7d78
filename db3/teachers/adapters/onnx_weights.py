"""How many weights an ONNX file holds, wherever it keeps them."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

from onnx import AttributeProto, ModelProto, NodeProto, TensorProto

# Of what weights are made, quantised ones too. Integers of 32 and 64 bits are shapes, axes and places.
_WEIGHTS = (
    *(TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE),
    *(TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4),
)
_COUNTS = ("nodes_hitrates", "nodes_hitrates_as_tensor")  # of a tree: how often a node was met


def count_weights(model: ModelProto) -> int | None:
    """Numbers that a model has learnt: its tensors, and the attributes of trees and linear models (ai.onnx.ml).

    A tensor of one element is an operator's setting, such as an ε or the scale of quantised weights, and no weight. Of
    a tree's nodes the leaves have no threshold, but the weights that they give.

    Returns:
        None where there are none: the model keeps them where they cannot be counted.
    """
    sizes = [math.prod(tensor.dims) for tensor in tensors_of(model) if tensor.data_type in _WEIGHTS]
    total = sum(size for size in sizes if size > 1)
    total += sum(map(_learnt, _nodes(model)))
    return total or None


def tensors_of(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor that a file holds: initializers and the values of attributes, in inner graphs and functions too."""
    for graph in _graphs(model):
        yield from graph.initializer
        yield from (sparse.values for sparse in graph.sparse_initializer)
    for node in _nodes(model):
        for attribute in node.attribute:
            if attribute.name in _COUNTS:
                continue
            yield from _tensors(attribute)


def _tensors(attribute: AttributeProto) -> Iterator[TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    if attribute.HasField("sparse_tensor"):
        yield attribute.sparse_tensor.values
    yield from attribute.tensors


def _graphs(model: ModelProto) -> Iterator[Any]:
    yield model.graph
    for node in _nodes(model):
        for attribute in node.attribute:
            yield from _inner(attribute)


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    yield from _within(model.graph.node)
    for function in model.functions:
        yield from _within(function.node)


def _within(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in _inner(attribute):
                yield from _within(graph.node)


def _inner(attribute: AttributeProto) -> list[Any]:
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _learnt(node: NodeProto) -> int:
    """Numbers in the attributes of a node: of a tree or a linear model, or the value of a constant."""
    lists = {entry.name: entry for entry in node.attribute}
    if node.op_type == "Constant":
        return len(lists["value_floats"].floats) if "value_floats" in lists else 0
    if node.domain != "ai.onnx.ml":
        return 0
    found = sum(len(entry.floats) for name, entry in lists.items() if name not in _COUNTS)
    leaves = list(lists["nodes_modes"].strings).count(b"LEAF") if "nodes_values" in lists else 0
    return found - leaves
