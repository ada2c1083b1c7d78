"""Digests: known values, and what they do and do not depend on."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from db3.digest import digest_array, digest_arrays, digest_bytes, digest_code, digest_file, digest_json

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def _by_hand(header: list[object], content: bytes) -> str:
    return hashlib.sha256(json.dumps(header).encode() + content).hexdigest()


def test_bytes_have_the_published_sha256() -> None:
    assert digest_bytes(b"") == EMPTY
    assert digest_bytes(b"abc") == ABC


def test_a_file_is_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert digest_file(tmp_path / "file") == ABC


def test_json_is_digested_in_one_form() -> None:
    assert digest_json({"b": 1, "a": [1.5, None, "é"]}) == digest_bytes('{"a":[1.5,null,"é"],"b":1}'.encode())
    assert digest_json({"b": 1, "a": 2}) == digest_json({"a": 2, "b": 1})
    assert digest_json([1]) != digest_json([1.0])
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_json([float("nan")])


@pytest.mark.parametrize(
    ("array", "header"),
    [
        (np.arange(6, dtype="<f4").reshape(2, 3), ["<f4", [2, 3]]),
        (np.array([[1, 2], [3, 4]], dtype=np.uint8), ["|u1", [2, 2]]),
        (np.array([True, False]), ["|b1", [2]]),
        (np.array(2.5), ["<f8", []]),
        (np.zeros((0, 3, 4), dtype="<i4"), ["<i4", [0, 3, 4]]),
        (np.zeros((3, 0), dtype="<i8"), ["<i8", [3, 0]]),
        (np.zeros(0, dtype="<i8"), ["<i8", [0]]),
    ],
    ids=["float", "bytes", "bool", "number", "no rows", "no columns", "nothing"],
)
def test_an_array_is_its_type_shape_and_bytes(array: np.ndarray, header: list[object]) -> None:  # type: ignore[type-arg]
    assert digest_array(array) == _by_hand(header, array.tobytes())


def test_type_shape_and_content_all_count() -> None:
    base = np.arange(6, dtype=np.int32)
    other = [base.astype(np.int64), base.astype(np.uint32), base.reshape(2, 3), base.reshape(3, 2), base + 1, base[:5]]
    assert len({digest_array(array) for array in [base, *other]}) == 7


def test_layout_in_memory_and_byte_order_do_not_count() -> None:
    base = np.arange(24, dtype="<i4").reshape(4, 6)
    expected = digest_array(base)
    assert digest_array(base.astype(">i4")) == expected
    assert digest_array(np.asfortranarray(base)) == expected
    assert digest_array(np.repeat(base, 2, axis=1)[:, ::2]) == expected
    assert digest_array(base[::-1]) == digest_array(base[::-1].copy()) != expected


def test_a_mapped_file_is_digested_as_the_array_in_memory(tmp_path: Path) -> None:
    """Larger than one piece (16 MiB), so that the pieces are put together right."""
    array = np.random.default_rng(0).integers(0, 256, (2500, 90, 90), dtype=np.uint8)
    np.save(tmp_path / "a.npy", array)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert digest_array(mapped) == digest_array(array) == _by_hand(["|u1", [2500, 90, 90]], array.tobytes())


def test_names_of_arrays_count_and_their_order_does_not() -> None:
    one, two = np.zeros(2), np.ones(3)
    assert digest_arrays({"one": one, "two": two}) == digest_arrays({"two": two, "one": one})
    assert digest_arrays({"one": one, "two": two}) != digest_arrays({"one": two, "two": one})
    assert digest_arrays({"one": one}) != digest_arrays({"uno": one})


def test_code_is_told_apart_by_file_and_folder() -> None:
    assert digest_code("rng") == digest_code("rng") != digest_code("arithmetic")
    assert digest_code("search") != digest_code("teachers")
    assert digest_code("rng", "arithmetic") != digest_code("rng")


def test_code_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        digest_code("no_such_module")
