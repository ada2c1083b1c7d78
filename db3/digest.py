"""Digests: the names by which samples, shards and transfer sets are known (SHA-256, lower-case hex)."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def digest_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """Digest of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_json(value: Any) -> str:
    """Digest of a JSON value in canonical form: sorted keys, no spaces, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return digest_bytes(text.encode())


def digest_array(array: npt.NDArray[Any]) -> str:
    """Digest of an array's dtype (little-endian), shape and content in C order; memory maps are read in pieces."""
    order = array.dtype.newbyteorder("<")
    digest = hashlib.sha256(json.dumps([order.str, list(array.shape)]).encode())
    flat = array.reshape(len(array), -1) if array.ndim and array.size else array.reshape(array.size, 1)
    rows = max(1, (1 << 24) // max(1, flat.shape[1] * array.dtype.itemsize))
    for start in range(0, len(flat), rows):
        digest.update(np.ascontiguousarray(flat[start : start + rows], dtype=order).data)
    return digest.hexdigest()


def digest_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Digest of several named arrays, whatever the order they are given in."""
    return digest_json({name: digest_array(array) for name, array in arrays.items()})


def digest_code(*modules: str) -> str:
    """Digest of the source of the named files or folders of db3: part of a shard's key, so that a changed
    algorithm never meets an old shard.
    """
    root = Path(__file__).parent
    files = [file for name in modules for file in sorted((root / name).rglob("*.py")) or [root / f"{name}.py"]]
    return digest_json({file.relative_to(root).as_posix(): digest_file(file) for file in files})
