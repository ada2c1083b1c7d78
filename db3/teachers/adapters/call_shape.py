"""The call shape that suits a network best on this machine: found once by a short measurement, then part of what it is.

An answer is defined for one call shape (`db3.teachers.base`), so the batch size and the memory format belong to the
teacher's identity. A measured value depends on the machine, and two machines that each measured their own would give
two identities, two transfer sets and two dvc.lock files. Hence the rules:

* A fixed number is the default; measuring has to be asked for (`teacher.call_batch: auto`).
* What was measured is written to teacher.json (`call_batch`, `memory_format`) where the teacher is fetched. Every later
  stage reads the card and measures nothing, whatever machine it runs on.
* DVC removes the card before it fetches again, and a second measurement may end differently; `recorded` therefore
  keeps the first one beside the shards, outside what is versioned: one machine always finds the same shape.
* Two machines may still differ. Who needs equal bytes on all of them writes the two values found, which the stage
  prints, into the parameters in place of `auto`.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from db3.errors import DataError, unknown_name
from db3.files import read_json, write_json
from db3.rng import Purpose, generator
from db3.teachers.base import ImageShape

FORMATS: dict[str, torch.memory_format] = {
    "channels_last": torch.channels_last,
    "contiguous": torch.contiguous_format,
}
BATCHES = (32, 64, 128, 256, 512, 1024)
_SLICE = 0.03  # seconds of one reading
_LONGEST = 1.0  # a call that takes longer ends the growth of the batch
_AS_GOOD = 0.96  # of the best rate: then the smaller batch, which wastes less where a call is not filled


@dataclass(frozen=True)
class CallShape:
    """Rows and memory format of every call.

    Attributes:
        batch: rows.
        memory_format: of the weights and the images; a network's floats may depend on it.
        rate: images a second measured with it; no part of what it is.
    """

    batch: int
    memory_format: str
    rate: float = 0.0


def best_call_shape(
    network: nn.Module,
    shape: ImageShape,
    device: str | torch.device = "cpu",
    batches: Sequence[int] = BATCHES,
    turns: int = 5,
    seconds: float = 20.0,
) -> CallShape:
    """The fastest call shape by the median of turns, each of which reads every candidate once.

    Candidates are measured in turns, so that whatever else the machine does meets them alike. The network is left on
    `device` in evaluation mode, in the memory format last measured.

    Args:
        network: maps float32 [n, C, H, W] to logits.
        shape: (C, H, W).
        device: where it will run.
        batches: candidates, rising.
        turns: readings of each.
        seconds: no turn is begun after so many; the first one is always finished.
    """
    network = network.eval().to(device)
    images = torch.rand(max(batches), *shape, generator=generator(0, Purpose.TIMING)).to(device)
    ends = time.monotonic() + seconds
    rates: dict[tuple[int, str], list[float]] = {}
    with torch.inference_mode():
        candidates = [(batch, name) for name in FORMATS for batch in _affordable(network, images, batches, name)]
        for turn in range(turns):
            if turn and time.monotonic() > ends:
                break
            for batch, name in candidates:
                rates.setdefault((batch, name), []).append(images_per_second(network, images[:batch], name))
    medians = {candidate: statistics.median(read) for candidate, read in rates.items()}
    enough = _AS_GOOD * max(medians.values())
    batch, name = min(candidate for candidate in medians if medians[candidate] >= enough)
    return CallShape(batch, name, medians[batch, name])


def recorded(file: Path, measure: Callable[[], CallShape]) -> CallShape:
    """The call shape kept in `file`; measured and written there where there is none yet.

    Args:
        file: a JSON file, named by what decides the measurement (architecture, shape, device, threads).
        measure: such as `best_call_shape`.

    Raises:
        DataError: the file holds something else.
    """
    if not file.is_file():
        found = measure()
        write_json(file, {"call_batch": found.batch, "memory_format": found.memory_format})
        return found
    kept = read_json(file)
    batch, name = kept.get("call_batch"), kept.get("memory_format")
    if not isinstance(batch, int) or batch < 1 or name not in FORMATS:
        raise DataError(f"{file} holds {kept}; expected a call_batch and a memory_format: delete it to measure again")
    return CallShape(batch, name)


def images_per_second(network: nn.Module, images: Tensor, memory_format: str, seconds: float = _SLICE) -> float:
    """One reading: how many images of calls like this one the bare network takes in a second."""
    arrange(network, memory_format)
    batch = images.contiguous(memory_format=FORMATS[memory_format])
    with torch.inference_mode():
        once = _seconds(network, batch, 1)
        calls = max(1, round(seconds / max(once, 1e-6)))
        return calls * images.shape[0] / _seconds(network, batch, calls)


def arrange(network: nn.Module, memory_format: str) -> nn.Module:
    """Put the weights into a memory format (channels last: a small network's convolutions run twice as fast on a CPU).

    Raises:
        ConfigError: there is no such format.
    """
    if memory_format not in FORMATS:
        raise unknown_name("memory format", memory_format, FORMATS)
    return network.to(memory_format=FORMATS[memory_format])


def _affordable(network: nn.Module, images: Tensor, batches: Sequence[int], name: str) -> Iterator[int]:
    """Batches up to the first whose call takes too long (the smallest always); each is warmed up by the way."""
    arrange(network, name)
    for batch in batches:
        part = images[:batch].contiguous(memory_format=FORMATS[name])
        network(part)
        if batch != batches[0] and _seconds(network, part, 1) > _LONGEST:
            return
        yield batch


def _seconds(network: nn.Module, batch: Tensor, calls: int) -> float:
    begun = time.perf_counter()
    for _ in range(calls):
        network(batch)
    if batch.is_cuda:
        torch.cuda.synchronize(batch.device)
    return time.perf_counter() - begun
