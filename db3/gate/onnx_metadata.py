"""A gate inside a student's ONNX file, where whatever runs the file can read it.

It stands in the model's `metadata_props` under the key `db3.gate`, as JSON; with onnxruntime:
`json.loads(session.get_modelmeta().custom_metadata_map["db3.gate"])["threshold"]`. Needs the extra `onnx`.
"""

from importlib import import_module
from typing import Any

from db3.errors import DataError, one_line
from db3.extras import needs
from db3.gate.gate import Gate

KEY = "db3.gate"


def put_gate(model: bytes, gate: Gate) -> bytes:
    """The ONNX model with the gate in its metadata, in place of one that was there; the same bytes on every call.

    Raises:
        ConfigError: the extra `onnx` is not installed.
        DataError: the bytes are no ONNX model.
    """
    opened = _open(model)
    others = [entry for entry in opened.metadata_props if entry.key != KEY]
    kept = {entry.key: entry.value for entry in others}
    del opened.metadata_props[:]
    for key, value in sorted({**kept, KEY: gate.to_json()}.items()):
        opened.metadata_props.add(key=key, value=value)
    return bytes(opened.SerializeToString(deterministic=True))


def read_gate(model: bytes) -> Gate | None:
    """The gate in the model's metadata; None: it has none.

    Raises:
        ConfigError: the extra `onnx` is not installed.
        DataError: the bytes are no ONNX model, or what stands there is no gate.
    """
    found = [entry.value for entry in _open(model).metadata_props if entry.key == KEY]
    return Gate.from_json(found[0]) if found else None


def _open(model: bytes) -> Any:
    with needs("onnx", "a gate in an ONNX file"):
        onnx = import_module("onnx")
    try:
        opened = onnx.load_model_from_string(model)
    except Exception as error:  # protobuf's own errors, which differ by back end
        raise DataError(
            f"the bytes are no ONNX model ({one_line(error)}); expected those of a file that export_onnx gives"
        ) from error
    if not opened.HasField("graph"):
        raise DataError(
            "the bytes are no ONNX model (there is no graph); expected those of a file that export_onnx gives"
        )
    return opened
