"""Small files in the real layouts, and a machine without a network."""

import gzip
import io
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address resolves and no connection opens, whatever the machine has."""

    def refuse(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def write_idx() -> Callable[[Path, np.ndarray], None]:
    def write(path: Path, values: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        head = struct.pack(f">I{values.ndim}I", 0x800 + values.ndim, *values.shape)
        data = head + values.astype(np.uint8).tobytes()
        path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)

    return write


@pytest.fixture
def tiny_mnist(write_idx: Callable[[Path, np.ndarray], None]) -> Callable[..., dict[str, np.ndarray]]:
    """Write 30 + 12 images of 28×28 as the four IDX files; returns what was written."""

    def write(folder: Path, suffix: str = "", seed: int = 0) -> dict[str, np.ndarray]:
        draw = np.random.default_rng(seed)
        values = {
            "train-images-idx3-ubyte": draw.integers(0, 256, (30, 28, 28)),
            "train-labels-idx1-ubyte": np.arange(30) % 10,
            "t10k-images-idx3-ubyte": draw.integers(0, 256, (12, 28, 28)),
            "t10k-labels-idx1-ubyte": np.arange(12) % 10,
        }
        for name, array in values.items():
            write_idx(folder / f"{name}{suffix}", array)
        return values

    return write


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """Bytes of a random image file."""

    def make(
        seed: int = 0, size: tuple[int, int] = (20, 12), mode: str = "RGB", kind: str = "PNG", **options: object
    ) -> bytes:
        shape = (size[1], size[0], len(Image.new(mode, (1, 1)).getbands()))
        array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(array.squeeze(-1) if shape[2] == 1 else array, mode=None).save(file, format=kind, **options)
        return file.getvalue()

    return make


@pytest.fixture
def write_pictures(picture: Callable[..., bytes]) -> Callable[..., None]:
    """Write one random 20×12 PNG for each name."""

    def write(folder: Path, *names: str, **options: object) -> None:
        for seed, name in enumerate(names):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(seed, **options))

    return write
