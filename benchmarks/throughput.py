"""How much of the teacher's own best throughput the engine reaches, measured in turns in one run."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from db3.decisions.driver import drive
from db3.decisions.search import Pairs, Search
from db3.decisions.semicircle import SemicircleSettings, semicircle
from db3.decisions.subspace import cells
from db3.teachers.base import Teacher

_PAIRS, _BUDGET, _TURNS = 512, 100, 5
_BATCHES = (64, 128, 256, 512, 1024)


def throughput_share(network: nn.Module, teacher: Teacher) -> float:
    """Median over turns of (queries a second through a search) / (images a second of the bare network, best batch)."""
    shape = teacher.spec.input_shape
    images = torch.rand(max(_BATCHES), *shape, generator=torch.Generator().manual_seed(0))
    shares = sorted(_engine(teacher, images) / _bare(network, images) for _ in range(_TURNS))
    return shares[_TURNS // 2]


def _bare(network: nn.Module, images: Tensor) -> float:
    network = network.eval().to(memory_format=torch.channels_last)
    rates = []
    with torch.inference_mode():
        for size in _BATCHES:
            batch = images[:size].contiguous(memory_format=torch.channels_last)
            network(batch)
            calls = 4096 // size
            seconds = _seconds(lambda batch=batch, calls=calls: [network(batch) for _ in range(calls)])  # type: ignore[misc]
            rates.append(size * calls / seconds)
    return max(rates)


def _engine(teacher: Teacher, images: Tensor) -> float:
    shape = teacher.spec.input_shape
    flat = images[:_PAIRS].flatten(1)
    decided = torch.cat([teacher.decide(part) for part in torch.split(images[:_PAIRS], teacher.spec.max_batch)])
    others = images[-_PAIRS:].flatten(1)
    targets = (decided + 1) % teacher.spec.classes
    search = Search(Pairs(flat, decided, targets, torch.arange(len(flat)), shape, teacher.spec.bounds), _BUDGET)
    search.know(torch.arange(len(flat)), others)  # a stand-in for a boundary point: only the work counts here
    seconds = _seconds(lambda: drive([semicircle(search, cells(shape, 2, 0), SemicircleSettings())], teacher))  # type: ignore[list-item]
    return int(search.asked.sum()) / seconds


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
