"""A shard's work on its way to another process: what it closes over by reference, its code checked on arrival.

Dask and Ray send functions as pickles; a parcel is such a message and never a file. Memory-mapped arrays travel as the
name of their file, large ones through a file beside the shard store, so that a transfer set larger than memory is read
from the disk by whoever needs it. The workers need the driver's folder, on this machine or on a shared file system.
"""

import hashlib
import io
import os
import platform
import shutil
import threading
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from db3.digest import digest_code
from db3.errors import Db3Error
from db3.files import mapping_of, read_array, write_array

Work = Callable[[int], None]

_LARGE = 1 << 20  # bytes; below it an array travels inside the message
_KEPT = 4  # runs of which a worker keeps what it opened
_CODE = digest_code(".")  # of what is imported here, should the files change under a worker that lives for days


class WorkerError(Db3Error):
    """A worker cannot do the work: it sees another folder, runs other code, or died of it."""


@dataclass(frozen=True)
class Parcel:
    """Work that can be sent.

    Attributes:
        root: the driver's current folder.
        mark: a file that only workers on the driver's file system see.
        software: digest of db3's code, and the versions that decide bits.
        threads: torch threads of each worker.
        work: the function, pickled.
        key: digest of `work`.
    """

    root: str
    mark: str
    software: tuple[str, ...]
    threads: int
    work: bytes
    key: str


def pack(work: Work, threads: int, transit: Path) -> Parcel:
    """Make a parcel of `work`; large arrays are left in `transit`, which the caller deletes when all is done."""
    buffer = io.BytesIO()
    _pickler(buffer, transit.resolve()).dump(work)
    content = buffer.getvalue()
    key = hashlib.sha256(content).hexdigest()
    mark = transit.resolve() / key
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    return Parcel(os.fspath(Path.cwd()), os.fspath(mark), _software(), threads, content, key)


def do(parcel: Parcel, index: int) -> None:
    """On a worker: unpack the parcel unless that is done already, then work on shard `index`.

    Raises:
        WorkerError: this worker sees another folder or runs other code than the driver.
        Whatever the work raises.
    """
    work = _unpacked(parcel)
    _limit_threads(parcel.threads)
    work(index)


def clear(transit: Path) -> None:
    shutil.rmtree(transit, ignore_errors=True)


_lock = threading.Lock()
_works: "OrderedDict[str, Work]" = OrderedDict()


def _unpacked(parcel: Parcel) -> Work:
    """Once per worker and parcel, so that all shards share what the work keeps, its open teacher above all."""
    import pickle

    with _lock:
        if parcel.key not in _works:
            _enter(parcel)
            _works[parcel.key] = pickle.loads(parcel.work)  # noqa: S301 - from the driver, never from a file
            while len(_works) > _KEPT:
                _works.popitem(last=False)
        return _works[parcel.key]


def _enter(parcel: Parcel) -> None:
    here = f"the worker {os.getpid()} on {platform.node()}"
    if not Path(parcel.mark).is_file():
        raise WorkerError(
            f"{here} does not see the files of {parcel.root}; workers need that folder on a file system that they share"
        )
    os.chdir(parcel.root)
    if _software() != parcel.software:
        names = ("db3's code", "Python", "numpy", "torch")
        mine = dict(zip(names, _software(), strict=True))
        name, expected = next(pair for pair in zip(names, parcel.software, strict=True) if mine[pair[0]] != pair[1])
        raise WorkerError(
            f"{here} has another version of {name} ({mine[name][:12]}) than the driver ({expected[:12]}): its results "
            "might differ; restart the workers with the driver's environment"
        )


@cache
def _software() -> tuple[str, ...]:
    import torch

    return _CODE, platform.python_version(), np.__version__, torch.__version__


def _limit_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _pickler(buffer: io.BytesIO, transit: Path) -> Any:
    import cloudpickle

    class Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
        """cloudpickle, but for arrays (by file) and thread-locals (made anew, once per worker)."""

        def reducer_override(self, value: Any) -> Any:
            if type(value) is threading.local:
                return _local, (_token(value),)
            if mapping := mapping_of(value):
                return mapping
            if isinstance(value, np.ndarray) and value.nbytes >= _LARGE and not value.dtype.hasobject:
                return _large, (os.fspath(_left(value, transit)),)
            return super().reducer_override(value)

    return Pickler(buffer)


def _left(array: Any, transit: Path) -> Path:
    from db3.digest import digest_array

    path = transit / f"{digest_array(array)}.npy"
    if not path.is_file():
        write_array(path, array)
    return path


def _large(path: str) -> Any:
    return read_array(Path(path), mapped=False)


_tokens: "weakref.WeakKeyDictionary[threading.local, str]" = weakref.WeakKeyDictionary()
_locals: "OrderedDict[str, threading.local]" = OrderedDict()


def _token(local: threading.local) -> str:
    return _tokens.setdefault(local, uuid.uuid4().hex)


def _local(token: str) -> threading.local:
    """On a worker: the thread-local that stands for the driver's; what a thread keeps in it outlives one parcel, so
    that a stage of several rounds opens its teacher once per worker too.
    """
    kept = _locals.setdefault(token, threading.local())
    _locals.move_to_end(token)
    while len(_locals) > _KEPT:
        _locals.popitem(last=False)
    return kept
