"""torch's kernels by instruction set: a test forces those that this processor offers, and skips the others."""

import os
import subprocess
import sys

import pytest
import torch

NEEDS = {"default": (), "avx2": ("AVX2", "AVX512"), "avx512": ("AVX512",)}


def why_not(instructions: str, capability: str) -> str:
    """Why a processor of this capability cannot run the kernels (forcing them would end in SIGILL); empty: it can."""
    if not NEEDS[instructions] or capability in NEEDS[instructions]:
        return ""
    return f"this processor offers {capability} kernels, not {instructions.upper()}"


def _settings() -> list[object]:
    capability = torch.backends.cpu.get_cpu_capability()
    reasons = {instructions: why_not(instructions, capability) for instructions in NEEDS}
    return [
        pytest.param(instructions, marks=[pytest.mark.skip(reason=reason)] if reason else [])
        for instructions, reason in reasons.items()
    ]


on_every_kernel = pytest.mark.parametrize("instructions", _settings())
"""Runs a test with `instructions` set to each of torch's x86 settings that this processor offers."""


def printed_with(instructions: str, program: str) -> list[str]:
    """The words that a Python program prints when it runs on these kernels and one thread."""
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": instructions, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()
