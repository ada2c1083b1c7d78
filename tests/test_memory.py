"""db3/memory.py, in a process of its own: the setting cannot be taken back."""

import os
import platform
import subprocess
import sys

import pytest

_PLACES = """
import ctypes
from db3.memory import keep_freed_memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]

def apart():  # whether glibc takes 30 MiB from the system, to give them back as soon as they are freed
    at = libc.malloc(30 * 2**20)
    return (at - 16) % 4096 == 0  # such a block begins a page, behind its head of 16 bytes

print(apart(), keep_freed_memory(), apart())
"""


def places(**environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", _PLACES]
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_large_blocks_stay_with_the_process() -> None:
    assert places() == "True True False"


def test_a_choice_in_the_environment_stands() -> None:
    assert places(MALLOC_ARENA_MAX="2").split()[1] == "False"
