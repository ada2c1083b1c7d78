"""A function and what it closes over as a message to the workers of a cluster, checked before they run it.

Dask and Ray send functions as pickles; this is such a message and never a file. Memory-mapped arrays are sent as the
name of their file, large ones through a file beside the shard store, so that a transfer set larger than memory is read
from the disk by whoever needs it. The workers need the driver's folder, on this machine or on a shared file system.
"""

import hashlib
import io
import os
import pickle
import platform
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
from db3.files import array_by_file
from flows.engine.threads import set_torch_threads

Work = Callable[[int], None]

_KEPT = 4  # functions, and thread-locals, that a worker keeps
_CODE = digest_code(".")  # of what is imported here, should the files change under a worker that lives for days


class WorkerError(Db3Error):
    """A worker cannot do the work: it sees another folder, runs other code, or died of it."""


@dataclass(frozen=True)
class RemoteWork:
    """A function of a shard's index that can be sent to workers.

    Attributes:
        root: the driver's current folder.
        probe: a file that only workers on the driver's file system see.
        versions: digest of db3's code, and the versions that decide bits.
        threads: torch threads of each worker.
        pickled: the function.
        key: digest of `pickled`.
    """

    root: str
    probe: str
    versions: tuple[str, ...]
    threads: int
    pickled: bytes
    key: str


def pickle_work(work: Work, threads: int, staging: Path) -> RemoteWork:
    """`work` as a message; large arrays are written to `staging`, which the caller deletes when all is done."""
    buffer = io.BytesIO()
    _pickler(buffer, staging.resolve()).dump(work)
    content = buffer.getvalue()
    key = hashlib.sha256(content).hexdigest()
    probe = staging.resolve() / key
    probe.parent.mkdir(parents=True, exist_ok=True)
    probe.touch()
    return RemoteWork(os.fspath(Path.cwd()), os.fspath(probe), _versions(), threads, content, key)


def run_shard(remote: RemoteWork, index: int) -> None:
    """On a worker: unpickle the function unless that is done already, then call it with `index`.

    Raises:
        WorkerError: this worker sees another folder or runs other code than the driver.
        Whatever the work raises.
    """
    work = _load(remote)
    set_torch_threads(remote.threads)
    work(index)


_lock = threading.Lock()
_works: "OrderedDict[str, Work]" = OrderedDict()


def _load(remote: RemoteWork) -> Work:
    """Once per worker and function, so that all shards share what it keeps, its open teacher above all."""
    with _lock:
        if remote.key not in _works:
            _check_worker(remote)
            _works[remote.key] = pickle.loads(remote.pickled)  # noqa: S301 - from the driver, never from a file
            while len(_works) > _KEPT:
                _works.popitem(last=False)
        return _works[remote.key]


def _check_worker(remote: RemoteWork) -> None:
    """Go to the driver's folder, unless this worker's files or software are others."""
    here = f"the worker {os.getpid()} on {platform.node()}"
    if not Path(remote.probe).is_file():
        raise WorkerError(
            f"{here} does not see the files of {remote.root}; workers need that folder on a file system that they share"
        )
    os.chdir(remote.root)
    if _versions() != remote.versions:
        names = ("db3's code", "Python", "numpy", "torch")
        mine = dict(zip(names, _versions(), strict=True))
        name, expected = next(pair for pair in zip(names, remote.versions, strict=True) if mine[pair[0]] != pair[1])
        raise WorkerError(
            f"{here} has another version of {name} ({mine[name][:12]}) than the driver ({expected[:12]}): its results "
            "might differ; restart the workers with the driver's environment"
        )


@cache
def _versions() -> tuple[str, ...]:
    import torch

    return _CODE, platform.python_version(), np.__version__, torch.__version__


def _pickler(buffer: io.BytesIO, staging: Path) -> Any:
    import cloudpickle

    class Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
        """cloudpickle, but for arrays (by file) and thread-locals (made anew, once per worker)."""

        def reducer_override(self, value: Any) -> Any:
            if type(value) is threading.local:
                return _local, (_token(value),)
            return array_by_file(value, staging) or super().reducer_override(value)

    return Pickler(buffer)


_tokens: "weakref.WeakKeyDictionary[threading.local, str]" = weakref.WeakKeyDictionary()
_locals: "OrderedDict[str, threading.local]" = OrderedDict()


def _token(local: threading.local) -> str:
    return _tokens.setdefault(local, uuid.uuid4().hex)


def _local(token: str) -> threading.local:
    """On a worker: the thread-local that stands for the driver's; what a thread keeps in it outlives one function, so
    that a stage of several rounds opens its teacher once per worker too.
    """
    kept = _locals.setdefault(token, threading.local())
    _locals.move_to_end(token)
    while len(_locals) > _KEPT:
        _locals.popitem(last=False)
    return kept
