"""What exact arithmetic costs, and that its bits do not change with the kernels.

    python -m benchmarks.exact --json FILE
    python -m benchmarks.exact --networks lenet5,lenet5_half --batches 64,128 --steps 300 --dataset mnist

For each network and batch: milliseconds a step of the exact and of the float32 training, in turns (medians), their
ratio, accuracy of both on the test split after `--steps` steps from the same weights, the bits per operand, and a
digest of the weights after a few steps under every kernel setting that could be forced, each in a process of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from db3.arithmetic import AdamW, float32_weights, initialise, student_loss, to_exact, warmup_cosine
from db3.arithmetic import grid as exact_grid
from db3.datasets import open_dataset
from db3.digest import digest_bytes
from db3.files import write_json
from db3.networks import build
from db3.training.losses import student_loss as float32_loss

_LR, _WARMUP, _TURNS, _DIGEST_STEPS = 2e-3, 20, 15, 5
_SETTINGS: tuple[dict[str, str], ...] = (
    {},
    {"ATEN_CPU_CAPABILITY": "default"},
    {"ATEN_CPU_CAPABILITY": "avx2"},
    {"ATEN_CPU_CAPABILITY": "avx512"},
    {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    {"MKL_CBWR": "COMPATIBLE"},
    {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"},
    {"OMP_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "2"},
    {"OMP_NUM_THREADS": "4"},
)
_NEEDS = {"avx2": ("AVX2", "AVX512"), "avx512": ("AVX512",)}


class Training:
    """One training, exact or float32, step by step."""

    def __init__(
        self, network: nn.Module, images: Tensor, decisions: Tensor, batch: int, steps: int, exact: bool
    ) -> None:
        self.exact, self._images, self._decisions, self._batch = exact, images, decisions, batch
        self._rates, self._step = warmup_cosine(steps, _LR, _WARMUP), 0
        self._draw = torch.Generator().manual_seed(1)
        if exact:
            self.network, self._optimiser = to_exact(network), None
            self._exact = AdamW(self.network.parameters(), weight_decay=1e-4)
        else:
            self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._optimiser = torch.optim.AdamW(network.parameters(), lr=_LR, weight_decay=1e-4, fused=True)

    def step(self) -> None:
        rows = torch.randint(len(self._images), (self._batch,), generator=self._draw)
        images, decisions = self._images[rows], self._decisions[rows]
        lr, self._step = self._rates[min(self._step, len(self._rates) - 1)], self._step + 1
        if self._optimiser is None:
            self._exact.zero_grad()
            images = images.to(torch.float64) / 255
            student_loss(self.network(images), decisions, None, ce=1.0, kl=0.0, temperature=1.0).backward()
            self._exact.step(lr)
        else:
            self._optimiser.param_groups[0]["lr"] = lr
            self._optimiser.zero_grad()
            images = images.to(torch.float32, memory_format=torch.channels_last) / 255
            float32_loss(self.network(images), decisions, None, ce=1.0, kl=0.0, temperature=1.0).backward()
            self._optimiser.step()

    def accuracy(self, images: Tensor, decisions: Tensor) -> float:
        """Share of the test images decided right."""
        self.network.eval()
        right = 0
        with torch.no_grad():
            for start in range(0, len(images), 256):
                part = images[start : start + 256].to(torch.float64 if self.exact else torch.float32) / 255
                right += int((self.network(part).argmax(dim=1) == decisions[start : start + 256]).sum())
        self.network.train()
        return right / len(images)

    def digest(self) -> str:
        """Of the weights as a file holds them."""
        weights = float32_weights(self.network)
        return digest_bytes(b"".join(weights[name].numpy().tobytes() for name in sorted(weights)))[:16]


def measure(name: str, batch: int, steps: int, dataset: str, root: str | None) -> dict[str, Any]:
    """One row of the table."""
    images, decisions, test, truth = _data(dataset, root)
    trainings = {
        exact: Training(_network(name, images), images, decisions, batch, steps, exact) for exact in (True, False)
    }
    times: dict[bool, list[float]] = {True: [], False: []}
    bits = _recorded(trainings[True].step)
    trainings[False].step()
    for number in range(1, steps):
        for exact, training in trainings.items():
            began = time.perf_counter()
            training.step()
            if number <= _TURNS:
                times[exact].append((time.perf_counter() - began) * 1000)
    exact_ms, float32_ms = (statistics.median(times[exact]) for exact in (True, False))
    return {
        "network": name,
        "batch": batch,
        "exact_ms": round(exact_ms, 2),
        "float32_ms": round(float32_ms, 2),
        "ratio": round(exact_ms / float32_ms, 2),
        "exact_accuracy": trainings[True].accuracy(test, truth),
        "float32_accuracy": trainings[False].accuracy(test, truth),
        "bits": bits,
        "digests": digests(name, batch, dataset, root),
    }


def digests(name: str, batch: int, dataset: str, root: str | None) -> dict[str, list[str]]:
    """Digests after a few steps, exact and float32, under every setting that this processor offers."""
    found = {}
    for setting in _SETTINGS:
        capability = setting.get("ATEN_CPU_CAPABILITY", "")
        if capability in _NEEDS and torch.backends.cpu.get_cpu_capability() not in _NEEDS[capability]:
            continue
        command = [sys.executable, "-m", "benchmarks.exact", "--digest", name, str(batch), "--dataset", dataset]
        command += ["--root", root] if root else []
        ran = subprocess.run(command, env={**os.environ, **setting}, capture_output=True, text=True, check=True)
        label = " ".join(f"{key}={value}" for key, value in setting.items()) or "as started"
        found[label] = json.loads(ran.stdout.splitlines()[-1])
    return found


def _own_digests(name: str, batch: int, dataset: str, root: str | None) -> list[str]:
    images, decisions, *_ = _data(dataset, root)
    found = []
    for exact in (True, False):
        training = Training(_network(name, images), images, decisions, batch, _DIGEST_STEPS, exact)
        for _ in range(_DIGEST_STEPS):
            training.step()
        found.append(training.digest())
    return found


def _network(name: str, images: Tensor) -> nn.Module:
    channels, height, width = images.shape[1:]
    network = build(name, (channels, height, width), 10)
    initialise(network, 0)
    return network


def _data(name: str, root: str | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test images (uint8) and labels."""
    dataset = open_dataset(name, root=root)
    parts: list[Tensor] = []
    for part in (dataset.train(), dataset.test()):
        parts += [torch.from_numpy(np.array(part.images)), torch.from_numpy(np.array(part.labels)).to(torch.int64)]
    return parts[0], parts[1], parts[2], parts[3]


def _recorded(step: Callable[[], None]) -> dict[str, list[int]]:
    """Bits of inputs, weights and gradients of each layer during a step."""
    from db3.arithmetic import products  # noqa: PLC0415 - the function that is watched

    found: dict[str, list[int]] = {}
    choose = exact_grid.choose_bits

    def watched(name: str, *terms: Any) -> exact_grid.Bits:
        bits = choose(name, *terms)
        found[name] = [bits.inputs, bits.weights, bits.gradients]
        return bits

    products.choose_bits = watched
    try:
        step()
    finally:
        products.choose_bits = choose
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="lenet5,lenet5_half,compact")
    parser.add_argument("--batches", default="64,128")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--root", help="folder of the dataset's files; default: DB3_DATA_ROOT")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--digest", nargs=2, metavar=("NETWORK", "BATCH"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.digest:
        print(json.dumps(_own_digests(given.digest[0], int(given.digest[1]), given.dataset, given.root)))
        return
    rows = []
    for name in given.networks.split(","):
        for batch in map(int, given.batches.split(",")):
            row = measure(name, batch, given.steps, given.dataset, given.root)
            rows.append(row)
            distinct = [len({pair[place] for pair in row["digests"].values()}) for place in (0, 1)]
            print(
                f"{name} batch {batch}: exact {row['exact_ms']} ms, float32 {row['float32_ms']} ms, "
                f"ratio {row['ratio']}; "
                f"accuracy {row['exact_accuracy']:.4f} / {row['float32_accuracy']:.4f}; "
                f"{len(row['digests'])} settings, digests: {distinct[0]} exact, {distinct[1]} float32",
                flush=True,
            )
    if given.json:
        write_json(given.json, {"threads": torch.get_num_threads(), "rows": rows})


if __name__ == "__main__":
    main()
