"""Images, labels, surrogates, students and searches have the same bytes with every kernel, and on another processor."""

import os
import shlex
import subprocess
import sys

import pytest

from tests.elsewhere import digests
from tests.flows.modules import ROOT

COUNT = 64
PINNED = {
    "images": "ebd10cd456dd15f3 9ec56e2f893d3908 fb0fdd3a119413eb",
    "labels": "9b9a42ad997d81c7 68c355942785b223",
    "surrogate": "966f40b89a53d53d 0640300644a5c999",
    "student": "042f978d2838db7a e79a1707307109c2 796729886733df2c be692fe069f4e803",
    "search": "db456d62b19c7f1c 35a5236cfb4ad963 a2721308c5d25dd2",
}
EMULATOR = os.environ.get("DB3_EMULATOR", "")  # a command that runs Python on another processor; takes its arguments


@pytest.mark.parametrize("part", list(PINNED))
def test_the_digests_are_the_pinned_ones(part: str) -> None:
    assert " ".join(digests(part, COUNT)) == PINNED[part]


@pytest.mark.slow
def test_the_digests_are_the_pinned_ones_with_other_kernels_and_two_threads() -> None:
    other = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
    assert printed(sys.executable, **other, OMP_NUM_THREADS="2") == PINNED


@pytest.mark.slow
@pytest.mark.skipif(not EMULATOR, reason="no other processor: DB3_EMULATOR names no command that runs Python on one")
def test_the_digests_are_the_pinned_ones_on_another_processor() -> None:
    assert printed(*shlex.split(EMULATOR), OMP_NUM_THREADS="1") == PINNED


def printed(*python: str, **environment: str) -> dict[str, str]:
    """What a Python in a process of its own finds, part by part."""
    ran = subprocess.run(
        [*python, "-m", "tests.elsewhere", str(COUNT), ",".join(PINNED)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return dict(line.split(": ") for line in ran.stdout.splitlines())
