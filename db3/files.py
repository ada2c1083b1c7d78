"""Files that are whole or absent: written beside their place, flushed to the disk, then renamed."""

import io
import json
import math
import mmap
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from db3.digest import digest_array
from db3.errors import DataError, one_line

_LARGE = 1 << 20  # bytes; below it an array travels inside the message
# As numpy meets an empty file, or a header that is torn or made up.
_NO_ARRAY = (
    ValueError,
    EOFError,
    SyntaxError,
    TokenError,
    TypeError,
    KeyError,
    OverflowError,
    MemoryError,
    RecursionError,
)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; rename it to `path` when the block ends well, delete it when not."""
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        part = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)  # mkstemp's 0600 would keep the file from a shared cache or another user's report
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}; free some space or check the rights"
        ) from error
    finally:
        if part:
            with suppress(FileNotFoundError):
                part.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    with whole_file(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON: sorted keys, two spaces, a final newline; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; run the stage that writes it") from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is not valid JSON ({one_line(error)}); delete its folder and run the stage again"
        ) from error


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write one .npy file (format 1.0, C order; never pickled objects)."""
    with whole_file(path) as file:
        np.lib.format.write_array(file, np.asarray(array, order="C"), allow_pickle=False)


@contextmanager
def growing_array(
    path: Path, row: tuple[int, ...], dtype: npt.DTypeLike
) -> Iterator[Callable[[npt.NDArray[Any]], None]]:
    """Write one .npy file part by part, without ever holding it whole: the same bytes as `write_array` of all parts.

    Args:
        path: of the file, which appears when the block ends well.
        row: shape of one row.
        dtype: of every part.

    Yields:
        A function that appends a part; it raises ValueError for one of another shape or type.
    """
    rows = 0

    def header(file: BinaryIO) -> None:  # numpy leaves room in it for any number of rows
        described = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, {**described, "shape": (rows, *row)})

    with whole_file(path) as file:

        def append(part: npt.NDArray[Any]) -> None:
            nonlocal rows
            if part.shape[1:] != row or part.dtype != dtype:
                raise ValueError(f"a part is {part.dtype} {part.shape}; expected {np.dtype(dtype)} rows of {row}")
            file.write(part.tobytes())
            rows += len(part)

        header(file)
        yield append
        file.seek(0)
        header(file)


def read_array(path: Path, mapped: bool = True) -> npt.NDArray[Any]:
    """Read a .npy file, memory-mapped and read-only unless `mapped` is false."""
    try:
        with path.open("rb") as file:
            _check_array_size(file)
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)  # type: ignore[no-any-return]
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; run the stage that writes it") from error
    except _NO_ARRAY as error:
        raise DataError(
            f"{path} is not a whole .npy file ({one_line(error)}); delete its folder and run the stage again"
        ) from error


def _check_array_size(file: BinaryIO) -> None:
    """Refuse a header that promises other bytes than the file holds, before numpy makes room for them."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("its format is not 1.0, which all of db3's files have")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject or any(length < 0 for length in shape):
        raise ValueError(f"an array of {dtype} {list(shape)}")
    expected, held = file.tell() + math.prod(shape) * dtype.itemsize, os.fstat(file.fileno()).st_size
    if expected > held:
        raise ValueError(f"{held} bytes, of {expected} that its header tells of")


def packed(value: Any, folder: Path) -> bytes:
    """A message for another process of this machine, to be read by `pickle.loads`; never for a file.

    Arrays travel as the name of a file, see `array_by_file`. Tensors are copied, where the pickler of `multiprocessing`
    would have torch share their memory between the processes.
    """
    buffer = io.BytesIO()
    _Pickler(buffer, folder).dump(value)
    return buffer.getvalue()


def array_by_file(value: Any, folder: Path) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
    """How another process gets an array from a file, as a function and its arguments; None for what is none or small.

    Args:
        value: what `read_array` has mapped is mapped again; an array of a mebibyte or more is written.
        folder: for the latter; the caller deletes it when the other process is done.
    """
    base: Any = getattr(value, "base", None)  # a part of a mapped array has that array below it: it is sent as it is
    if isinstance(value, np.memmap) and isinstance(base, mmap.mmap) and value.filename:
        return _mapped, (os.fspath(value.filename), value.dtype.str, value.offset, value.shape)
    if isinstance(value, np.ndarray) and value.nbytes >= _LARGE and not value.dtype.hasobject:
        path = folder / f"{digest_array(value)}.npy"
        if not path.is_file():
            write_array(path, value)
        return read_array, (path, False)
    return None


class _Pickler(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, folder: Path) -> None:
        super().__init__(buffer)
        self._folder = folder

    def reducer_override(self, value: Any) -> Any:
        return array_by_file(value, self._folder) or NotImplemented


def _mapped(path: str, dtype: str, offset: int, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)


def _sync_folder(folder: Path) -> None:
    """A rename is on the disk only once its folder is (not offered on Windows)."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
