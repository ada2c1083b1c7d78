"""What a manifest says about the machine: facts that may matter to a last bit, outside every digest."""

import platform

import numpy as np
import torch
import torchvision

from flows.manifests import Environment


def environment(device: str, threads: int, processes: int | None = None) -> Environment:
    """Versions, device and threads; no host name, path or time, so that the same kind of machine writes the same."""
    versions = platform.python_version(), torch.__version__, torchvision.__version__, np.__version__
    return Environment(*map(str, versions), platform.machine(), device, threads, processes)
