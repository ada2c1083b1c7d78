"""Who computes shards: this process, or the workers of a Dask or Ray cluster.

`open_runner` gives a function that runs one shard and returns when it is in the store. A plain run and a Prefect flow
run call the same function (there each shard is a task run that waits in it), so that the workers of a cluster need not
reach the Prefect server, which listens on 127.0.0.1, and a stage without a server pays for none. Dask and Ray
schedule; they also redo elsewhere what a lost worker had begun.
"""

import importlib
import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from db3.errors import ConfigError
from flows.config import Runtime
from flows.engine.remote_work import RemoteWork, Work, WorkerError, pickle_work, run_shard

HOST = "127.0.0.1"
_DEATHS = 3  # workers that one shard may take with it before it is taken for the cause
_ANSWER_LIMIT = 20  # seconds that a cluster has to answer


class ClusterError(WorkerError):
    """A cluster does not answer, or its packages are not installed."""


class Cluster(Protocol):
    """A connection to workers; open until the process or the stage ends."""

    def dispatch(self, work: RemoteWork, runtime: Runtime) -> AbstractContextManager[Work]:
        """A function that lets a worker run shard `index` and returns when that is done."""

    def close(self) -> None: ...


@contextmanager
def open_runner(work: Work, runtime: Runtime, staging: Path) -> Iterator[Work]:
    """`work` as `runtime.runner` does it: here, or on a worker of a cluster.

    Args:
        work: computes shard `index` and puts it into the store.
        runtime: which cluster, if any.
        staging: a folder for large arrays that workers read; deleted when the block ends.

    Raises:
        ClusterError: the cluster does not answer, or its package is not installed.
        ConfigError: the runner needs something that the parameters do not say.
    """
    if runtime.runner not in _CLUSTERS:
        yield work
        return
    try:
        remote = pickle_work(work, runtime.threads, staging)
        with connect(runtime).dispatch(remote, runtime) as run:
            yield run
    finally:
        shutil.rmtree(staging, ignore_errors=True)


_open: dict[str, tuple[Runtime, Cluster]] = {}


def connect(runtime: Runtime) -> Cluster:
    """The cluster of this process, started or found at the first call and kept: its start takes seconds."""
    if "cluster" in _open:
        known, cluster = _open["cluster"]
        if known == runtime:
            return cluster
        close()
    if runtime.address and runtime.device == "auto":
        raise ConfigError(
            "runtime.device is auto, but with runtime.address the workers may have other devices than this machine; "
            "name it: runtime.device=cpu or runtime.device=cuda"
        )
    _require_listener(runtime)
    cluster = _CLUSTERS[runtime.runner](runtime)
    _open["cluster"] = runtime, cluster
    return cluster


def close() -> None:
    """End the connection, and the workers that were started for it."""
    if "cluster" in _open:
        _open.pop("cluster")[1].close()


def _require_listener(runtime: Runtime) -> None:
    """Left alone, Dask would wait a third of a minute for an address where nobody listens, and Ray several minutes."""
    host = urlsplit(runtime.address if "://" in str(runtime.address) else f"tcp://{runtime.address}")
    try:
        if runtime.address and host.hostname and host.port:
            socket.create_connection((host.hostname, host.port), _ANSWER_LIMIT).close()
    except (OSError, ValueError) as error:
        raise _no_answer(runtime, error) from error


def _no_answer(runtime: Runtime, error: Exception) -> ClusterError:
    start = {"dask": "dask scheduler", "ray": "ray start --head"}[runtime.runner]
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return ClusterError(
        f"runtime.address is {runtime.address}, but no {runtime.runner.title()} cluster answers there ({reason}); "
        f"start one with `{start}`, or leave the address empty for workers of this machine"
    )


def count_gpus(runtime: Runtime) -> int:
    """GPUs that a shard asks for."""
    import torch

    return int(runtime.device.startswith("cuda") or (runtime.device == "auto" and torch.cuda.is_available()))


class DaskCluster:
    """Workers of the scheduler at `runtime.address`, or `runtime.workers` processes of this machine on 127.0.0.1."""

    def __init__(self, runtime: Runtime) -> None:
        distributed = _import("distributed", "dask")
        import dask

        self._distributed = distributed
        settings = {"distributed.scheduler.allowed-failures": _DEATHS, "distributed.admin.low-level-log-length": 100}
        self._local = None
        if runtime.processes > 1:  # for good: a worker that is started again later reads it too
            dask.config.set({"distributed.worker.daemon": False})
        with dask.config.set(settings):
            if not runtime.address:
                self._local = distributed.LocalCluster(
                    n_workers=runtime.workers,
                    threads_per_worker=1,
                    host=HOST,
                    # Without this the scheduler's HTTP server takes port 8787, or warns that it is taken.
                    scheduler_kwargs={"dashboard": False, "dashboard_address": f"{HOST}:0"},
                    silence_logs=logging.CRITICAL,
                    resources={"GPU": 1},
                )
            try:
                self._client = distributed.Client(self._local or runtime.address, timeout=_ANSWER_LIMIT)
            except (OSError, TimeoutError, ValueError, MemoryError) as error:  # the last: a stranger's words as a size
                raise _no_answer(runtime, error) from error
        if self._local and count_gpus(runtime):
            self._client.run(_take_gpu, {name: number for number, name in enumerate(self._names())})

    def _names(self) -> list[str]:
        return sorted(self._client.scheduler_info()["workers"])

    @contextmanager
    def dispatch(self, work: RemoteWork, runtime: Runtime) -> Iterator[Work]:
        wanted = {"resources": {"GPU": 1}} if count_gpus(runtime) else {}
        futures: set[Any] = set()

        def run(index: int) -> None:
            future = self._client.submit(run_shard, work, index, pure=False, **wanted)
            futures.add(future)
            try:
                future.result()
            except self._distributed.scheduler.KilledWorker as error:
                raise WorkerError(_explain_deaths(index)) from error
            finally:
                futures.discard(future)

        try:
            yield run
        finally:
            for future in list(futures):
                future.cancel()

    def close(self) -> None:
        # What does not end in time ends with this process: workers watch it.
        with suppress(Exception):
            self._client.close(timeout=5)
        if self._local:
            with suppress(Exception):
                self._local.close(timeout=10)


class RayCluster:
    """Workers of the Ray cluster at `runtime.address`, or `runtime.workers` processes of this machine.

    A local Ray listens on every interface of this machine, whatever it is told: choose it only where no one else can
    reach the machine.
    """

    def __init__(self, runtime: Runtime) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")
        self._ray = _import("ray", "ray")
        mine = {} if runtime.address else {"num_cpus": runtime.workers, "include_dashboard": False}
        # Workers import db3 from where this process did.
        search = os.pathsep.join([os.fspath(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")])
        try:
            self._ray.init(
                address=runtime.address or "local",
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                runtime_env={"env_vars": {"PYTHONPATH": search, "OMP_NUM_THREADS": str(runtime.threads)}},
                **mine,
            )
        except (OSError, ValueError, RuntimeError, TimeoutError) as error:
            raise _no_answer(runtime, error) from error

    @contextmanager
    def dispatch(self, work: RemoteWork, runtime: Runtime) -> Iterator[Work]:
        ray = self._ray
        shared = ray.put(work)
        task = ray.remote(num_cpus=1, num_gpus=count_gpus(runtime), max_retries=_DEATHS)(run_shard)
        running: set[Any] = set()

        def run(index: int) -> None:
            running.add(reference := task.remote(shared, index))
            try:
                ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise (error.cause if isinstance(error.cause, Exception) else error) from None
            except ray.exceptions.WorkerCrashedError as error:
                raise WorkerError(_explain_deaths(index)) from error
            finally:
                running.discard(reference)

        try:
            yield run
        finally:
            for reference in list(running):
                ray.cancel(reference, force=True)

    def close(self) -> None:
        self._ray.shutdown()


_CLUSTERS: dict[str, Callable[[Runtime], Cluster]] = {"dask": DaskCluster, "ray": RayCluster}


def _take_gpu(numbers: dict[str, int], dask_worker: Any) -> None:
    """On a local worker, before it touches CUDA: one GPU each, in turn."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    mine = visible.split(",")
    os.environ["CUDA_VISIBLE_DEVICES"] = mine[numbers[dask_worker.address] % len(mine)]


def _import(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ClusterError(
            f"runtime.runner is {extra}, but {error.name} is not installed; install db3's extra `{extra}`"
        ) from error


def _explain_deaths(index: int) -> str:
    return (
        f"{_DEATHS + 1} workers died while they computed shard {index}: most often there was too little memory; "
        "lower runtime.workers or runtime.shard, then run again: finished shards are kept"
    )
