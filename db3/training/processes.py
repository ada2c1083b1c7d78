"""Several processes of this machine that train one network together, on the CPU or with a GPU each.

Every process goes through the same steps with the same keyed batches and has some images of each: the result is that
of one process, in exact arithmetic to the last bit, in float32 up to rounding, with the same bytes at every run with as
many processes. torch.multiprocessing starts
them and ends all when one fails; torch's gloo (CPU) or NCCL (GPUs) carry the sums over the loopback interface alone.
Everything else passes through files of a folder that only this user may enter: where the processes find each other,
large arrays, the steps done, the first process's result, why one ended.
"""

import logging
import multiprocessing
import os
import pickle
import shutil
import signal
import socket
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import ProcessContext, ProcessException, ProcessExitedException, start_processes

from db3 import errors
from db3.errors import ConfigError, Db3Error
from db3.files import packed, read_json, write_json
from db3.progress import counted
from db3.training.examples import Examples, Group
from db3.training.ranks import Rank
from db3.training.train import HistoryRow, TrainSettings, train

_SUM_LIMIT = timedelta(minutes=30)  # for one sum: a process that is stuck ends the others too
_POLL = 0.2  # seconds between two looks at the steps done
_GRACE = 5.0  # seconds that the others get to miss a process in their next sum, before they are ended

# It warns of every process that it ends, which is what it is asked for; what went wrong is raised here.
logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)


def train_together(
    network: nn.Module,
    examples: Examples,
    settings: TrainSettings,
    seed: int,
    *,
    processes: int = 1,
    groups: Sequence[Group] = (),
    on_step: Callable[[], object] | None = None,
    device: str = "cpu",
) -> list[HistoryRow]:
    """`train` in several processes, or in this one.

    Args:
        network: trained in place, see `train`.
        examples: see `train`; memory-mapped images are opened by each process, not sent.
        settings: see `train`.
        seed: see `train`.
        processes: that share each batch, with as many torch threads each as this thread has; 1: just `train`. With
            `device` cuda each has a GPU, the first visible ones in their order.
        groups: see `train`.
        on_step: see `train`; called in this process, a little later.
        device: cpu or cuda.

    Raises:
        ConfigError: a number of processes that the batch or the machine cannot serve, or whatever `train` raises.
        Db3Error: a process was killed; the others are ended then, as they are whenever this function is left.
    """
    check_processes(processes, settings.batch, device)
    if processes == 1:
        return train(network, examples, settings, seed, groups=groups, on_step=on_step, device=device)
    with tempfile.TemporaryDirectory(prefix="db3-ranks-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        job = _Job(
            network,
            examples,
            settings,
            seed,
            tuple(groups),
            device,
            processes,
            torch.get_num_threads(),
            folder,
        )
        with counted("training", settings.steps, on_step) as told:
            _run(job, told)
        history, weights = torch.load(folder / _RESULT, weights_only=True)
    network.load_state_dict(weights)
    network.eval()
    return [HistoryRow(**row) for row in history]


def processes_of(settings: TrainSettings, processes: int) -> list[int]:
    """The processes as a part of a key: in exact arithmetic they decide nothing."""
    return [] if settings.arithmetic == "exact" else [processes]


def check_processes(processes: int, batch: int, device: str) -> None:
    """Whether so many processes can share a batch on this machine.

    Raises:
        ConfigError: when not; one line.
    """
    if processes < 1:
        raise ConfigError(f"processes is {processes}; expected 1 or more")
    if processes == 1:
        return
    if processes > batch:
        raise ConfigError(
            f"processes is {processes}, but a batch holds {batch} images; expected one image for each process at "
            "least: lower processes or raise batch"
        )
    if device not in ("cpu", "cuda"):
        raise ConfigError(
            f"processes is {processes}, but the device is {device}; expected cpu, or cuda for a GPU each: change one"
        )
    if device == "cuda" and processes > torch.cuda.device_count():
        raise ConfigError(
            f"processes is {processes}, but {torch.cuda.device_count()} GPUs are visible here; expected one for each "
            "process: lower processes (a Dask or Ray worker sees only its own GPU: take the runner local)"
        )
    if multiprocessing.current_process().daemon:
        raise ConfigError(
            f"processes is {processes}, but this worker may start none; expected a worker that may: set "
            "DASK_DISTRIBUTED__WORKER__DAEMON=False where it is started, or processes to 1"
        )


@dataclass(frozen=True)
class _Job:
    """What each process is given; `folder` is where they find each other and leave what they have to say."""

    network: nn.Module
    examples: Examples
    settings: TrainSettings
    seed: int
    groups: tuple[Group, ...]
    device: str
    processes: int
    threads: int
    folder: Path


_MEETING, _STEPS, _RESULT = "meeting", "steps", "result.pt"  # files of a job's folder


def _run(job: _Job, on_step: Callable[[], object] | None) -> None:
    """Start the processes and wait until all have done their work; none is left, however this ends."""
    steps = np.memmap(job.folder / _STEPS, np.int64, "w+", shape=(1,))
    context = _start(job)
    told = 0
    try:
        done = False
        while not done:
            done = context.join(_POLL, _GRACE)
            while on_step and told < steps[0]:
                on_step()
                told += 1
    except ProcessException as error:
        raise _cause(error, [process.exitcode for process in context.processes], job.folder) from None
    finally:
        for process in context.processes:
            process.kill()
            process.join()


def _start(job: _Job) -> ProcessContext:
    """Processes forked from one that has imported torch already, where an interpreter of their own would cost seconds.

    That one has no threads and holds no GPU, and ends with this process.
    """
    multiprocessing.set_forkserver_preload(["db3.training.processes", "torch._dynamo"])  # the latter: AdamW imports it
    message = packed(job, job.folder)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # so that Ctrl-C comes when all are known
    try:
        context: ProcessContext = start_processes(  # type: ignore[no-untyped-call]
            _work, (message,), job.processes, join=False, daemon=True, start_method="forkserver"
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    # torch would unpickle what it finds in a file of the machine's common folder: here none is ever written.
    context.error_files = [os.fspath(job.folder / "none")] * job.processes
    return context


def _cause(error: ProcessException, codes: Sequence[int | None], folder: Path) -> Exception:
    """The first thing that went wrong: when a process is gone, the others miss it in their next sum."""
    if isinstance(error, ProcessExitedException) and error.signal_name:
        return _killed(error.error_index, len(codes), error.signal_name)
    if -signal.SIGKILL in codes:  # seen a moment after a process that missed it
        return _killed(codes.index(-signal.SIGKILL), len(codes), "SIGKILL")
    told = [read_json(path) for path in folder.glob("error-*.json")]
    if not told:
        return RuntimeError(f"process {error.error_index} of {len(codes)} could not begin; what it printed says why")
    first = min(told, key=lambda one: float(one["at"]))
    kind: type[Exception] = getattr(errors, first["kind"], Db3Error) if first["kind"] else RuntimeError
    return kind(first["message"])


def _killed(number: int, count: int, name: str) -> Db3Error:
    return Db3Error(
        f"process {number} of the {count} that train a network was ended by {name}; expected all to live: if "
        "nobody sent it, memory was short: lower processes or batch; run again"
    )


def _work(number: int, message: bytes) -> None:
    """What each process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one to answer
    job: _Job = pickle.loads(message)  # noqa: S301 - from the process that started this one, never from a file
    threading.Thread(target=_end_with_parent, args=(job.folder,), daemon=True).start()
    try:
        history = _train(job, Rank(number, job.processes))
        if number == 0:
            torch.save(([asdict(row) for row in history], job.network.state_dict()), job.folder / _RESULT)
    except Exception as error:  # whatever it is, the process that started this one tells it
        known = isinstance(error, Db3Error)
        reason = str(error) if known else f"a training process failed:\n{traceback.format_exc()}"
        told = {"at": time.monotonic(), "kind": type(error).__name__ if known else "", "message": reason}
        write_json(job.folder / f"error-{number}.json", told)
        os._exit(1)  # to take leave of the others properly would be to wait for them


def _train(job: _Job, rank: Rank) -> list[HistoryRow]:
    torch.set_num_threads(job.threads)
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
    os.environ |= {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
    device = f"cuda:{rank.number}" if job.device == "cuda" else job.device
    if job.device == "cuda":
        torch.cuda.set_device(rank.number)
    dist.init_process_group(
        "nccl" if job.device == "cuda" else "gloo",
        init_method=(job.folder / _MEETING).as_uri(),
        rank=rank.number,
        world_size=rank.count,
        timeout=_SUM_LIMIT,
    )
    steps = np.memmap(job.folder / _STEPS, np.int64, "r+", shape=(1,))

    def count_step() -> None:
        steps[0] += 1

    history = train(
        job.network,
        job.examples,
        job.settings,
        job.seed,
        groups=job.groups,
        on_step=count_step if rank.number == 0 else None,
        device=device,
        rank=rank,
    )
    dist.destroy_process_group()
    return history


def _end_with_parent(folder: Path) -> None:
    """However the process that started this one ends, this one ends too."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)
