import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from db3.datasets.idx import read_shape, read_values
from db3.errors import DataError

Write = Callable[[Path, np.ndarray], None]
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 3))


@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_values_and_shape_come_back(name: str, tmp_path: Path, write_idx: Write) -> None:
    write_idx(tmp_path / name, IMAGES)
    assert read_shape(tmp_path / name, 3) == (5, 4, 3)
    np.testing.assert_array_equal(read_values(tmp_path / name, 3), IMAGES)


@pytest.mark.parametrize("name", ["images", "images.gz"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "59 bytes of values; its header says 60"),
        (lambda data: data + b"x", "more bytes of values; its header says 60"),
        (lambda data: data[:10], "ends inside its header of 16 bytes"),
        (lambda data: data[:0], "magic number 0; expected 2051"),
        (lambda data: b"\x00\x00\x08\x01" + data[4:], r"magic number 2049; expected 2051 \(IDX images\)"),
        (lambda data: data[:4] + b"\xff" * 12 + data[16:], "claims a shape of"),
    ],
)
def test_damage_is_named(
    name: str, damage: Callable[[bytes], bytes], message: str, tmp_path: Path, write_idx: Write
) -> None:
    write_idx(tmp_path / "images", IMAGES)
    data = damage((tmp_path / "images").read_bytes())
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(DataError, match=message) as caught:
        read_values(path, 3)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-12], lambda data: data[:-6] + b"\0" * 6, lambda data: b"junk" + data]
)
def test_damaged_gzip_is_named(damage: Callable[[bytes], bytes], tmp_path: Path, write_idx: Write) -> None:
    path = tmp_path / "images.gz"
    write_idx(path, IMAGES)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"images.gz is not a whole gzip file"):
        read_values(path, 3)
