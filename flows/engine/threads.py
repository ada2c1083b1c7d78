"""How many threads torch computes with."""

import os
import sys


def set_threads(threads: int) -> None:
    """Torch threads of this process, whether torch is imported already or later."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def set_torch_threads(threads: int) -> None:
    """Inside a worker: OpenMP, which torch computes with, keeps this setting per thread."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
