"""One training, the same bytes under other kernels, threads and processes of this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.arithmetic.trainings import train

ROOT = Path(__file__).resolve().parents[2]
PINNED = {
    "lenet5_half": "2ce41790d079646e 5a8b3dc9429c8253 b9d6497851f100d0 81e940949de569a9",
    "compact": "9a36cd3a6c13b59c a76be4c016832211 b89b0512f439d640 c3f7921d84bcfdfc",
}
SETTINGS = [
    ({"THREADS": "2"}, 1),
    ({"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}, 1),
    ({"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "THREADS": "3"}, 1),
    ({}, 2),
]
HANGS = 900  # seconds, of a process that would never end; one takes some ten


@pytest.mark.parametrize("name", list(PINNED))
def test_digests_here(name: str) -> None:
    assert " ".join(train(name, 4)) == PINNED[name]


@pytest.mark.parametrize(("environment", "processes"), SETTINGS, ids=str)
def test_digests_elsewhere(environment: dict[str, str], processes: int) -> None:
    if environment.get("ATEN_CPU_CAPABILITY") == "avx2" and torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        pytest.skip("this processor has no AVX2")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.arithmetic.trainings", ",".join(PINNED), "4", str(processes)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == list(PINNED.values())
