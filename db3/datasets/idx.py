"""The IDX format of MNIST, plain or gzipped (Y. LeCun, C. Cortes, C. Burges, "The MNIST database", 1998).

A file is a magic number (two zero bytes, 8 for unsigned bytes, the number of dimensions), one big-endian 32-bit count
a dimension, then the values in C order.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from db3.errors import DataError

_LARGEST = 1 << 36  # a count beyond it is a damaged header, and asking for so much memory would hide that


def read_shape(path: Path, dimensions: int) -> tuple[int, ...]:
    """The counts in the header, without reading the values."""
    with _opened(path) as file:
        return _header(path, file, dimensions)


def read_values(path: Path, dimensions: int) -> UInt8[np.ndarray, "..."]:
    """All values.

    Args:
        path: a plain or gzipped (.gz) IDX file of unsigned bytes.
        dimensions: 3 for images [n, H, W], 1 for labels [n].

    Raises:
        DataError: the file is unreadable, of another kind, truncated, or longer than its header says.
    """
    with _opened(path) as file:
        shape = _header(path, file, dimensions)
        expected = math.prod(shape)
        data = file.read(expected + 1)
    if len(data) != expected:
        found = "more" if len(data) > expected else f"{len(data):,}"
        raise DataError(f"{path} holds {found} bytes of values; its header says {expected:,}: fetch the file again")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _header(path: Path, file: BufferedIOBase, dimensions: int) -> tuple[int, ...]:
    head = file.read(4 + 4 * dimensions)
    magic = int.from_bytes(head[:4], "big")
    if magic != 0x800 + dimensions:
        kind = "images" if dimensions == 3 else "labels"
        raise DataError(
            f"{path} begins with magic number {magic}; expected {0x800 + dimensions} (IDX {kind}): fetch the file again"
        )
    if len(head) != 4 + 4 * dimensions:
        raise DataError(f"{path} ends inside its header of {4 + 4 * dimensions} bytes: fetch the file again")
    shape: tuple[int, ...] = struct.unpack(f">{dimensions}I", head[4:])
    if not 0 < math.prod(shape) <= _LARGEST:
        raise DataError(f"{path} claims a shape of {list(shape)}; expected a dataset's: fetch the file again")
    return shape


@contextmanager
def _opened(path: Path) -> Iterator[BufferedIOBase]:
    try:
        with path.open("rb") as plain:
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=plain) as unpacked:
                    yield unpacked
            else:
                yield plain
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole gzip file ({error}): fetch the file again") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check its rights") from error
