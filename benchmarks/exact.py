"""What exact arithmetic costs, and that its bits do not change with the kernels.

    python -m benchmarks.exact --json FILE
    python -m benchmarks.exact --networks lenet5,lenet5_half --batches 64,128 --steps 300 --dataset mnist --settings all

For each network and batch: milliseconds of processor time a step of the exact, the float32 and the bfloat16 training,
in turns (medians), the ratios to float32, accuracy of each on the test split after `--steps` steps from the same
weights, and the bits per operand. Then, for each kernel setting that this processor offers, digests of the exact and
the float32 weights after a few steps of every network, in one process a setting; one that fails is reported as such.
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
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from db3.arithmetic import grid as exact_grid
from db3.arithmetic import initialise
from db3.datasets import open_dataset
from db3.digest import digest_bytes
from db3.files import write_json
from db3.networks import build
from db3.settings.training import Arithmetic
from db3.training.examples import pixels
from db3.training.learner import Targets
from db3.training.train import TrainSettings, learner_of

_LR, _WARMUP, _TURNS, _DIGEST_STEPS, _DIGEST_BATCH = 2e-3, 20, 15, 3, 64
_SETTINGS: tuple[dict[str, str], ...] = (
    {"OMP_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "2"},
    {"OMP_NUM_THREADS": "4"},
    {"ATEN_CPU_CAPABILITY": "default"},
    {"ATEN_CPU_CAPABILITY": "avx2"},
    {"ATEN_CPU_CAPABILITY": "avx512"},
    {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    {"MKL_CBWR": "COMPATIBLE"},
    {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"},
)
_DIGESTED: tuple[Arithmetic, ...] = ("exact", "float32")
_FEW = (0, 1, 9)  # places of the settings that a short run tries: the most unlike
_NEEDS = {"avx2": ("AVX2", "AVX512"), "avx512": ("AVX512",)}


class Training:
    """One training step by step, by the learner that the library trains with."""

    def __init__(
        self, network: nn.Module, images: Tensor, decisions: Tensor, batch: int, steps: int, arithmetic: Arithmetic
    ) -> None:
        settings = TrainSettings(
            steps=steps, batch=batch, lr=_LR, warmup=min(_WARMUP, steps // 2), arithmetic=arithmetic
        )
        self.network, self._learner = network, learner_of(network, settings, 0, "cpu")
        self._images, self._decisions, self._batch = images, decisions, batch
        self._rates, self._step = settings.rates(), 0
        self._draw = torch.Generator().manual_seed(1)

    def step(self) -> None:
        rows = torch.randint(len(self._images), (self._batch,), generator=self._draw)
        targets = Targets(self._decisions[rows], None, self._batch, 1.0, 0.0, 1.0)
        self._learner.step(pixels(self._images[rows].numpy()), [(1.0, [targets])], self._step, self._rates[self._step])
        self._step += 1

    def accuracy(self, images: Tensor, decisions: Tensor) -> float:
        """Share of the test images decided right."""
        right = 0
        for start in range(0, len(images), 256):
            decided = self._learner.decide(pixels(images[start : start + 256].numpy()))
            right += int((decided == decisions[start : start + 256]).sum())
        return right / len(images)

    def digest(self) -> str:
        """Of the weights as a file holds them; the training ends."""
        self._learner.finish(None)
        weights = self.network.state_dict()
        return digest_bytes(b"".join(weights[name].numpy().tobytes() for name in sorted(weights)))[:16]


def measure(name: str, batch: int, steps: int, dataset: str, root: str | None) -> dict[str, Any]:
    """One row of the table."""
    images, decisions, test, truth = _data(dataset, root)
    trainings = {
        kind: Training(_network(name, images), images, decisions, batch, steps, kind) for kind in get_args(Arithmetic)
    }
    times: dict[str, list[float]] = {kind: [] for kind in trainings}
    bits = _recorded(trainings["exact"].step)
    for kind in ("float32", "bfloat16"):
        trainings[kind].step()
    for number in range(1, steps):
        for kind, training in trainings.items():
            began = time.process_time()
            training.step()
            if number <= _TURNS:
                times[kind].append((time.process_time() - began) * 1000)
    took = {kind: statistics.median(each) for kind, each in times.items()}
    return {
        "network": name,
        "batch": batch,
        **{f"{kind}_ms": round(each, 2) for kind, each in took.items()},
        "ratio": round(took["exact"] / took["float32"], 2),
        "bfloat16_ratio": round(took["bfloat16"] / took["float32"], 2),
        **{f"{kind}_accuracy": training.accuracy(test, truth) for kind, training in trainings.items()},
        "bits": bits,
    }


def digests(
    names: Sequence[str], places: Sequence[int], dataset: str, root: str | None, limit: float
) -> dict[str, dict[str, list[str]] | str]:
    """For each setting that this processor offers, digests of each network after a few steps, exact and float32.

    A setting whose process fails, or takes longer than `limit` seconds, has the reason instead.
    """
    found: dict[str, dict[str, list[str]] | str] = {}
    for setting in (_SETTINGS[place] for place in places):
        capability = setting.get("ATEN_CPU_CAPABILITY", "")
        if capability in _NEEDS and torch.backends.cpu.get_cpu_capability() not in _NEEDS[capability]:
            continue
        command = [sys.executable, "-m", "benchmarks.exact", "--digest", "--networks", ",".join(names)]
        command += ["--dataset", dataset, *(["--root", root] if root else [])]
        label = " ".join(f"{key}={value}" for key, value in setting.items())
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **setting}
        try:
            ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=limit)
            found[label] = json.loads(ran.stdout.splitlines()[-1])
        except subprocess.TimeoutExpired:
            found[label] = f"no answer within {limit:g} s"
        except subprocess.CalledProcessError as error:
            found[label] = f"failed: {(error.stderr.strip().splitlines() or ['without a message'])[-1]}"
        print(f"{label}: {found[label]}", flush=True)
    return found


def _own_digests(names: Sequence[str], dataset: str, root: str | None) -> dict[str, list[str]]:
    images, decisions, *_ = _data(dataset, root)
    found: dict[str, list[str]] = {}
    for name in names:
        found[name] = []
        for kind in _DIGESTED:
            training = Training(_network(name, images), images, decisions, _DIGEST_BATCH, _DIGEST_STEPS, kind)
            for _ in range(_DIGEST_STEPS):
                training.step()
            found[name].append(training.digest())
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
    parser.add_argument("--networks", default="lenet5,lenet5_half")
    parser.add_argument("--batches", default="64,128")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--root", help="folder of the dataset's files; default: DB3_DATA_ROOT")
    parser.add_argument("--settings", choices=["none", "few", "all"], default="few", help="kernel settings to try")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds that a setting's process may take")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--digest", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    names = given.networks.split(",")
    if given.digest:
        print(json.dumps(_own_digests(names, given.dataset, given.root)))
        return
    rows = []
    for name in names:
        for batch in map(int, given.batches.split(",")):
            row = measure(name, batch, given.steps, given.dataset, given.root)
            rows.append(row)
            print(
                f"{name} batch {batch}: "
                + ", ".join(f"{kind} {row[f'{kind}_ms']} ms" for kind in get_args(Arithmetic))
                + f", ratio {row['ratio']}, of bfloat16 {row['bfloat16_ratio']}; accuracy "
                + " / ".join(f"{row[f'{kind}_accuracy']:.4f}" for kind in get_args(Arithmetic)),
                flush=True,
            )
    if given.json:  # kept if the settings below are cut off
        write_json(given.json, {"threads": torch.get_num_threads(), "rows": rows, "digests": {}})
    places = {"none": (), "few": _FEW, "all": range(len(_SETTINGS))}[given.settings]
    found = digests(names, places, given.dataset, given.root, given.limit)
    if given.json:
        write_json(given.json, {"threads": torch.get_num_threads(), "rows": rows, "digests": found})


if __name__ == "__main__":
    main()
