"""What several processes gain in a student's training: `python -m benchmarks.processes --json FILE`.

For each network and batch, one process against `--processes`, each with one torch thread, in alternating turns:

- `speedup`: seconds a step, median over the turns of the ratio within a turn. Several processes wait for each other at
  every step, so a machine that others use too slows them more.
- `speedup_cpu`: CPU seconds a step of the busiest process in place of seconds: what idle cores would give at best, for
  it leaves the waiting out, and hardly feels who else is there.
- `start_s`: from the call to the end of the first step. `pays_after`: steps from which on the start is earned back;
  null: never.
"""

import argparse
import itertools
import json
import statistics
import time
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from db3.networks import build
from db3.training.examples import Examples
from db3.training.processes import train_together
from db3.training.train import TrainSettings


@dataclass(frozen=True)
class Case:
    """A training to measure; `steps` are timed after the first."""

    network: str
    shape: tuple[int, int, int]
    batch: int
    steps: int


CASES = (
    Case("lenet5_half", (1, 28, 28), 128, 100),
    Case("lenet5_half", (1, 28, 28), 1024, 15),
    Case("alexnet_half", (3, 32, 32), 128, 6),
    Case("resnet18", (3, 32, 32), 256, 3),
)


@dataclass(frozen=True)
class Timed:
    """Seconds until the first step was done, of each later step, and CPU seconds of it in the busiest process."""

    start: float
    step: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.processes", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures: list[dict[str, Any]] = []
    for case in CASES:
        figures.append(_measure(case, options.processes, options.turns, options.device))
        print(json.dumps(figures[-1]), flush=True)
    result = {"processes": options.processes, "device": options.device, "turns": options.turns, "cases": figures}
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _measure(case: Case, processes: int, turns: int, device: str) -> dict[str, Any]:
    drawn = np.random.default_rng(0)
    images = drawn.integers(0, 256, (2 * case.batch, *case.shape), dtype=np.uint8)
    examples = Examples(images, drawn.integers(0, 10, len(images)))
    rounds = [[_time(case, examples, count, device) for count in (1, processes)] for _ in range(turns)]
    speedup = statistics.median(one.step / several.step for one, several in rounds)
    one, several = (
        Timed(*(statistics.median(values) for values in zip(*map(astuple, side), strict=True)))
        for side in zip(*rounds, strict=True)
    )
    pays = (several.start - one.start) / (one.step - several.step) if one.step > several.step else None
    return {
        **asdict(case),
        "speedup": round(speedup, 2),
        "speedup_cpu": round(statistics.median(one.cpu / several.cpu for one, several in rounds), 2),
        "step_ms": {"1": round(1000 * one.step, 1), str(processes): round(1000 * several.step, 1)},
        "start_s": {"1": round(one.start, 2), str(processes): round(several.start, 2)},
        "pays_after": None if pays is None else max(0, round(pays)),
    }


def _time(case: Case, examples: Examples, processes: int, device: str) -> Timed:
    network = build(case.network, case.shape, 10)
    marks: list[tuple[float, list[float]]] = []
    done = itertools.count(1)

    def step_done() -> None:
        if next(done) in (1, case.steps + 1):
            marks.append((time.perf_counter(), _used(processes)))

    begun = time.perf_counter()
    plan = TrainSettings(steps=case.steps + 1, batch=case.batch)
    train_together(network, examples, plan, 0, processes=processes, on_step=step_done, device=device)
    (first, before), (last, after) = marks
    busiest = max(late - early for early, late in zip(before, after, strict=True))
    return Timed(first - begun, (last - first) / case.steps, busiest / case.steps)


def _used(processes: int) -> list[float]:
    """CPU seconds so far of each process that trains."""
    me = psutil.Process()
    training = [me] if processes == 1 else [one for one in me.children() if "spawn_main" in " ".join(one.cmdline())]
    return [sum(one.cpu_times()[:2]) for one in training]


if __name__ == "__main__":
    main()
