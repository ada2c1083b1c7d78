"""The Open Inference Protocol as bytes: held against another client, and against noise."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from benchmarks.serving import ENVIRONMENT
from db3.errors import TeacherError
from db3.teachers.adapters.http_client import Reply
from db3.teachers.adapters.http_retries import RetryableError
from db3.teachers.adapters.inference_protocol import Interface, build_request, find_output, read_answer

WHOLE = Interface("x", "FP32", "y", None)


def reply(value: Any, raw: bytes = b"") -> Reply:
    head = value if isinstance(value, bytes) else json.dumps(value).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))} if raw else {}
    return Reply(head + raw, headers)


@given(arrays.arrays(np.float32, (2, 1, 2, 3), elements=st.floats(0, 1, width=32)))
def test_pixels_survive_json_and_binary_to_the_last_bit(images: np.ndarray[Any, Any]) -> None:
    body, _ = build_request(images, WHOLE, "a", binary=False)
    data = np.array(json.loads(body)["inputs"][0]["data"], np.float64).astype(np.float32)  # as a server may read it
    assert np.array_equal(data, images.reshape(-1))
    body, headers = build_request(images, WHOLE, "a", binary=True)
    size = int(headers["Inference-Header-Content-Length"])
    assert json.loads(body[:size])["inputs"][0]["parameters"] == {"binary_data_size": len(body) - size}
    assert np.array_equal(np.frombuffer(body[size:], "<f4"), images.reshape(-1))


TRITON = """
import sys, numpy as np, tritonclient.http as client
images = np.load(sys.argv[1])
tensor = client.InferInput("x", list(images.shape), "FP32")
tensor.set_data_from_numpy(images, binary_data=True)
wanted = client.InferRequestedOutput("y", binary_data=True)
body, size = client.InferenceServerClient.generate_request_body([tensor], outputs=[wanted], request_id="a")
sys.stdout.buffer.write(size.to_bytes(4, "little") + body)
"""


def test_a_binary_request_is_that_of_tritons_own_client(tmp_path: Path) -> None:
    python = ENVIRONMENT / "bin" / "python"
    if not python.is_file():
        pytest.skip("needs tritonclient, which comes with MLServer: see tests/teachers/adapters/test_http.py")
    images = np.random.default_rng(0).random((3, 1, 2, 2), np.float32)
    np.save(tmp_path / "images.npy", images)
    told = subprocess.run(
        [python, "-c", TRITON, tmp_path / "images.npy"], capture_output=True, check=True, env={"PATH": ""}
    ).stdout
    size = int.from_bytes(told[:4], "little")
    body, headers = build_request(images, WHOLE, "a", binary=True)
    own = int(headers["Inference-Header-Content-Length"])
    assert body[own:] == told[4 + size :]
    assert json.loads(body[:own]) == json.loads(told[4 : 4 + size])


def test_one_of_several_binary_outputs() -> None:
    first, second = np.arange(4, dtype="<i8"), np.array([0.5, 1.5], "<f4")
    outputs = [
        {"name": "z", "datatype": "INT64", "shape": [4], "parameters": {"binary_data_size": 32}},
        {"name": "y", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
    ]
    value, rest = read_answer(reply({"id": "a", "outputs": outputs}, first.tobytes() + second.tobytes()), "a", "m")
    assert find_output(value, rest, "y", "m").tolist() == [[0.5, 1.5]]
    with pytest.raises(RetryableError, match="cut short"):
        find_output(value, rest[:-1], "z", "m")


def test_binary_names() -> None:
    raw = b"".join(len(name).to_bytes(4, "little") + name for name in (b"cat", b"", "kühe".encode()))
    entry = {"name": "y", "datatype": "BYTES", "shape": [3], "parameters": {"binary_data_size": len(raw)}}
    assert find_output({"outputs": [entry]}, raw, None, "m").tolist() == [b"cat", b"", "kühe".encode()]
    with pytest.raises(TeacherError, match="not of that type"):
        find_output({"outputs": [{**entry, "parameters": {"binary_data_size": len(raw) - 1}}]}, raw, None, "m")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "outputs", "name", "datatype", "shape", "data", "parameters", "binary_data_size", "error"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
OUTPUT = st.fixed_dictionaries(
    {
        "name": st.just("y"),
        "datatype": st.sampled_from(["FP32", "INT64", "UINT8", "BYTES", "FP128"]) | JSON,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON,
    },
    optional={
        "data": JSON,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 9) | JSON}) | JSON,
    },
)


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries({"outputs": st.lists(OUTPUT, max_size=2) | JSON}) | JSON | st.binary(max_size=20),
    st.binary(max_size=9),
)
def test_noise_is_a_tensor_or_an_error_of_ours(value: Any, raw: bytes) -> None:
    try:
        found, rest = read_answer(reply(value, raw), "a", "m")
        tensor = find_output(found, rest, "y", "m")
    except (TeacherError, RetryableError):
        return
    assert tensor.dtype.kind in "iufO"
