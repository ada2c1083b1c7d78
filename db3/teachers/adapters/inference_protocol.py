"""The Open Inference Protocol (KServe v2) over REST: requests and answers as bytes, nothing of the network.

Source: github.com/kserve/open-inference-protocol, inference_rest.md; Triton's extension of binary tensor data.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from db3.errors import ConfigError, TeacherError
from db3.teachers.adapters.http_client import Reply
from db3.teachers.adapters.preprocessing import Preprocessing
from db3.teachers.adapters.retries import RetryableError
from db3.teachers.adapters.signature import check_images_fit, pick_tensor
from db3.teachers.base import ImageShape

BINARY = "binary_tensor_data"
_HEADER = "Inference-Header-Content-Length"
DATATYPES = {
    "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
}  # fmt: skip
SEEN = {"FP32": "float32", "FP16": "float16", "FP64": "float64", "UINT8": "uint8"}


@dataclass(frozen=True)
class Interface:
    """What is asked of a model, and how.

    Attributes:
        input: name of the tensor of images.
        datatype: of that tensor.
        output: name of the tensor of answers; None: the only one.
        rows: images of every request, where the model has a fixed number.
    """

    input: str
    datatype: str
    output: str | None
    rows: int | None


def read_interface(
    metadata: Mapping[str, Any],
    see: Preprocessing,
    input_shape: ImageShape,
    input: str | None,  # noqa: A002  (the protocol's own word)
    output: str | None,
    who: str,
) -> Interface:
    """Read a model's metadata and hold it against the images.

    Args:
        metadata: of the model; its inputs and outputs may be unknown.
        see: what the model is to see of an image.
        input_shape: (C, H, W).
        input: its name; None: the only one.
        output: its name; None: the only one.
        who: names the model in errors.

    Raises:
        ConfigError: a name is missing or unknown, or shape or type do not fit.
    """
    own = {of: name for name, of in SEEN.items()}[see.dtype]
    entry = _entry(metadata.get("inputs"), input, "input", who)
    if entry is None and input is None:
        raise ConfigError(f"{who} does not say how its input is called; expected a name: set teacher.input")
    answer = _entry(metadata.get("outputs"), output, "output", who)
    output = output if answer is None else str(answer["name"])
    if entry is None:
        return Interface(str(input), own, output, None)
    if entry.get("datatype") != own:
        fitting = SEEN.get(str(entry.get("datatype")))
        hint = f"set teacher.dtype={fitting}" if fitting else f"expected one of {', '.join(SEEN)}"
        raise ConfigError(f"{who} takes {entry.get('datatype')}, but teacher.dtype is {see.dtype}: {hint}")
    sizes = entry.get("shape")
    rows = check_images_fit(sizes, see, input_shape, who) if sizes else None
    return Interface(str(entry["name"]), own, output, rows)


def build_request(
    images: npt.NDArray[Any], interface: Interface, name: str, binary: bool
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request; `name` is its id."""
    tensor: dict[str, Any] = {
        "name": interface.input, "shape": list(images.shape), "datatype": interface.datatype
    }  # fmt: skip
    request: dict[str, Any] = {"id": name, "inputs": [tensor]}
    if interface.output:
        request["outputs"] = [{"name": interface.output}]
    if not binary:
        flat = images.reshape(-1)
        tensor["data"] = flat.astype(np.float32) if images.dtype == np.float16 else flat
        return orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY), {"Content-Type": "application/json"}
    raw = np.ascontiguousarray(images, dtype=DATATYPES[interface.datatype]).tobytes()
    tensor["parameters"] = {"binary_data_size": len(raw)}
    if interface.output:
        request["outputs"][0]["parameters"] = {"binary_data": True}
    else:
        request["parameters"] = {"binary_data_output": True}
    head = orjson.dumps(request)
    return head + raw, {"Content-Type": "application/octet-stream", _HEADER: str(len(head))}


def read_answer(reply: Reply, name: str, who: str) -> tuple[dict[str, Any], bytes]:
    """The JSON part of an answer, and the bytes after it.

    Raises:
        RetryableError: it is cut short, damaged, or belongs to another request.
        TeacherError: it is something else altogether.
    """
    head, rest = reply.content, b""
    length = reply.headers.get(_HEADER)
    if length is not None:
        size = int(length) if length.isdecimal() else -1
        if not 0 <= size <= len(head):
            raise RetryableError(f"its answer of {len(head)} bytes is shorter than its header says")
        head, rest = head[:size], head[size:]
    value = read_json_object(head, who)
    if value.get("error"):
        raise TeacherError(f"{who} answered with an error: look into the server's log")
    if value.get("id", name) != name:
        raise RetryableError("its answer was to another request")
    return value, rest


def read_json_object(content: bytes, who: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        RetryableError: it is cut short or damaged.
        TeacherError: it is HTML, or JSON of another kind.
    """
    value = read_json(content, who)
    if not isinstance(value, dict):
        raise TeacherError(f"{who} answered with {kind_of(value)}, not an object: check teacher.http.url")
    return value


def read_json(content: bytes, who: str, address: str = "the server's root, without /v2") -> Any:
    """Any JSON value; `address` says in errors what teacher.http.url should be. Raises as `read_json_object`."""
    if content.lstrip()[:1] == b"<":
        raise TeacherError(f"{who} answered with HTML, not JSON: check teacher.http.url ({address})")
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        if _holds_nan(content):
            raise TeacherError(
                f"{who} answered with NaN or Infinity, which JSON does not have; expected numbers: check what the "
                "model is shown (mean, std, scale)"
            ) from None
        raise RetryableError(f"its answer of {len(content)} bytes was no whole JSON") from None


def kind_of(value: Any) -> str:
    """What a value of JSON is, in words."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _holds_nan(content: bytes) -> bool:
    """Whether it is whole, but for the words that Python and JavaScript write for numbers that JSON does not have."""
    found: list[str] = []
    try:
        json.loads(content, parse_constant=found.append)
    except ValueError:
        return False
    return bool(found)


def find_output(value: Mapping[str, Any], rest: bytes, output: str | None, who: str) -> npt.NDArray[Any]:
    """The tensor of answers in an answer; others before it in the binary part are skipped.

    Raises:
        RetryableError: the binary part is cut short.
        TeacherError: the tensor is missing, there twice, or not of the shape and type that it names.
    """
    given = value.get("outputs")
    outputs = [entry for entry in given if isinstance(entry, dict)] if isinstance(given, list) else []
    found, start = [], 0
    for entry in outputs:
        size = _binary_size(entry, who)
        if output is None or entry.get("name") == output:
            found.append((entry, None if size is None else rest[start : start + size]))
        start += size or 0
    if len(found) != 1:
        names = ", ".join(str(entry.get("name")) for entry in outputs) or "none"
        wanted = f"one output {output!r}" if output else "one output"
        raise TeacherError(f"{who} gave the outputs {names}; expected {wanted}: set teacher.output")
    if start > len(rest):
        raise RetryableError("its answer was cut short")
    return _tensor(*found[0], who)


def _binary_size(entry: Mapping[str, Any], who: str) -> int | None:
    parameters = entry.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and (not isinstance(size, int) or size < 0):
        raise TeacherError(f"{who} gave a binary_data_size that is no size: the server breaks the protocol")
    return size


def _tensor(entry: Mapping[str, Any], raw: bytes | None, who: str) -> npt.NDArray[Any]:
    shape, datatype = entry.get("shape"), str(entry.get("datatype"))
    found = f"{who} gave an output of shape {shape} in {datatype}"
    if not isinstance(shape, list) or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise TeacherError(f"{found}; expected a list of sizes: the server breaks the protocol")
    try:
        if datatype == "BYTES":
            values = np.array(_strings(raw) if raw is not None else _flat(entry.get("data")), dtype=object)
        elif raw is not None:
            values = np.frombuffer(raw, dtype=DATATYPES[datatype])
        else:
            values = _numbers(entry.get("data"), DATATYPES[datatype])
    except (KeyError, ValueError, TypeError, OverflowError):
        raise TeacherError(f"{found}, whose data is not of that type: the server breaks the protocol") from None
    if values.size != math.prod(shape):
        raise TeacherError(
            f"{found}, but {values.size} values; expected {math.prod(shape)}: the server breaks the protocol"
        )
    return values.reshape(shape)


def _numbers(data: Any, dtype: str) -> npt.NDArray[Any]:
    values = np.asarray(data)
    if values.size and (values.dtype.kind not in "iuf" or (values.dtype.kind == "f" and np.dtype(dtype).kind != "f")):
        raise TypeError(str(values.dtype))
    if values.dtype.kind in "iu" and np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        if values.size and (values.min() < limits.min or values.max() > limits.max):
            raise OverflowError
    return values.astype(dtype)


def _flat(data: Any) -> list[Any]:
    return [leaf for item in data for leaf in _flat(item)] if isinstance(data, list) else [data]


def _strings(raw: bytes) -> list[bytes]:
    """BYTES elements: each a little-endian 32-bit length and so many bytes."""
    found, place = [], 0
    while place < len(raw):
        size = int.from_bytes(raw[place : place + 4], "little")
        found.append(raw[place + 4 : place + 4 + size])
        place += 4 + size
    if place != len(raw):
        raise ValueError("cut short")
    return found


def _entry(entries: Any, name: str | None, what: str, who: str) -> Mapping[str, Any] | None:
    """The named tensor of a model's metadata, or its only one; None where the server tells of none."""
    known: Sequence[Mapping[str, Any]] = entries if isinstance(entries, list) else []
    if not known:
        return None
    names = [str(entry.get("name")) if isinstance(entry, dict) else "?" for entry in known]
    return known[pick_tensor(names, name, what, who)]
