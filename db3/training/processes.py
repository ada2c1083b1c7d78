"""Several processes of this machine that train one network together, on the CPU or with a GPU each.

Every process goes through the same steps with the same keyed batches and has some images of each: the result is that
of one process up to rounding, and the same bytes at every run with as many processes. torch's gloo (CPU) or NCCL
(GPUs) carry the sums over the loopback interface alone; the processes find each other through a file.
"""

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
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from db3.errors import ConfigError, Db3Error
from db3.files import packed
from db3.training.augmentation import Augment
from db3.training.examples import Examples, Group
from db3.training.ranks import Rank
from db3.training.train import HistoryRow, TrainSettings, train

_PATIENCE = timedelta(minutes=30)  # for one sum: a process that is stuck ends the others too
_POLL = 0.2  # seconds


def train_together(
    network: nn.Module,
    examples: Examples,
    settings: TrainSettings,
    seed: int,
    *,
    processes: int = 1,
    groups: Sequence[Group] = (),
    on_step: Callable[[], object] | None = None,
    augment: Augment | None = None,
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
        augment: see `train`; pickled on its way.
        device: cpu or cuda.

    Raises:
        ConfigError: a number of processes that the batch or the machine cannot serve, or whatever `train` raises.
        Db3Error: a process was killed; the others are ended then, as they are whenever this function is left.
    """
    check_processes(processes, settings.batch, device)
    if processes == 1:
        return train(network, examples, settings, seed, groups=groups, on_step=on_step, augment=augment, device=device)
    job = _Job(
        network, examples, settings, seed, tuple(groups), augment, device, torch.get_num_threads(), bool(on_step)
    )
    with tempfile.TemporaryDirectory(prefix="db3-ranks-", ignore_cleanup_errors=True) as folder:
        ranks = _Ranks(job, processes, Path(folder))
        try:
            history, weights = ranks.result(on_step)
        finally:
            ranks.end()
    network.load_state_dict(weights)
    network.eval()
    return history


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
    network: nn.Module
    examples: Examples
    settings: TrainSettings
    seed: int
    groups: tuple[Group, ...]
    augment: Augment | None
    device: str
    threads: int
    tells_steps: bool


@dataclass(frozen=True)
class _Told:
    """What a process says: a step, its result, or why it ends."""

    at: float
    what: Any


class _Ranks:
    """The processes of one training."""

    def __init__(self, job: _Job, count: int, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        sent = packed(job)
        self._readers: list[connection.Connection] = []
        self._processes: list[BaseProcess] = []
        # Ctrl-C is this process's to answer; a signal that is blocked here stays blocked in those started now.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for number in range(count):
                reader, writer = context.Pipe(duplex=False)
                process = context.Process(
                    target=_work, args=(Rank(number, count), sent, folder, writer), daemon=True, name=f"rank-{number}"
                )
                self._readers.append(reader)
                process.start()
                self._processes.append(process)
                writer.close()
        except BaseException:
            self.end()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def result(self, on_step: Callable[[], object] | None) -> tuple[list[HistoryRow], dict[str, Any]]:
        """Wait for all processes; what the first one made."""
        made, errors = None, []
        while True:
            codes = [process.exitcode for process in self._processes]  # before reading: what is told is then complete
            for told in self._heard():
                if isinstance(told.what, BaseException | str):
                    errors.append(told)
                elif told.what is None and on_step:
                    on_step()
                elif told.what is not None:
                    made = told.what
            if any(codes):
                raise _cause(codes, errors)
            if made is not None and not any(code is None for code in codes):
                history, weights = pickle.loads(made)  # noqa: S301 - from a process of our own, never from a file
                return history, weights
            alive = [process.sentinel for process in self._processes if process.exitcode is None]
            connection.wait([*self._readers, *alive], _POLL)

    def _heard(self) -> list[_Told]:
        heard = []
        for reader in list(self._readers):
            try:
                while reader.poll():
                    heard.append(reader.recv())
            except (EOFError, OSError):  # it has ended, maybe in the middle of a word
                self._readers.remove(reader)
        return heard

    def end(self) -> None:
        """End those that still run, at once: nothing of theirs is kept anyway."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
            process.close()


def _cause(codes: Sequence[int | None], errors: Sequence[_Told]) -> BaseException:
    """The first thing that went wrong: when a process is gone, the others miss it in their next sum."""
    killed = next(((number, code) for number, code in enumerate(codes) if code and code < 0), None)
    if killed:
        number, code = killed
        name = signal.Signals(-code).name
        return Db3Error(
            f"process {number} of the {len(codes)} that train a network was ended by {name}; expected all to live: if "
            "nobody sent it, memory was short: lower processes or batch; run again"
        )
    if not errors:
        ended = next(number for number, code in enumerate(codes) if code)
        return RuntimeError(f"process {ended} of {len(codes)} could not begin; what it printed says why")
    first = min(errors, key=lambda told: told.at).what
    return first if isinstance(first, BaseException) else RuntimeError(f"a training process failed:\n{first}")


def _work(rank: Rank, sent: bytes, folder: Path, writer: "connection.Connection") -> None:
    """What each process does."""
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()

    def tell(what: Any) -> None:
        writer.send(_Told(time.monotonic(), what))

    try:
        job: _Job = pickle.loads(sent)  # noqa: S301 - from the process that started this one, never from a file
        history = _train(job, rank, folder, lambda: tell(None))
        if rank.number == 0:
            tell(packed((history, job.network.state_dict())))
    except Db3Error as error:
        tell(error)
        _leave()
    except Exception:  # whatever it is, the process that started this one tells it
        tell(traceback.format_exc())
        _leave()


def _train(job: _Job, rank: Rank, folder: Path, step_done: Callable[[], None]) -> list[HistoryRow]:
    torch.set_num_threads(job.threads)
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
    os.environ |= {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
    device = f"cuda:{rank.number}" if job.device == "cuda" else job.device
    if job.device == "cuda":
        torch.cuda.set_device(rank.number)
    dist.init_process_group(
        "nccl" if job.device == "cuda" else "gloo",
        init_method=(folder / "meeting").as_uri(),
        rank=rank.number,
        world_size=rank.count,
        timeout=_PATIENCE,
    )
    history = train(
        job.network,
        job.examples,
        job.settings,
        job.seed,
        groups=job.groups,
        on_step=step_done if job.tells_steps and rank.number == 0 else None,
        augment=job.augment,
        device=device,
        rank=rank,
    )
    dist.destroy_process_group()
    return history


def _leave() -> None:
    """End now: to take leave of the others properly would be to wait for them."""
    os._exit(1)


def _end_with_parent(folder: Path) -> None:
    """However the process that started this one ends, this one ends too."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        shutil.rmtree(folder, ignore_errors=True)
        _leave()
