"""What a manifest says about the machine: facts that may matter to a last bit, outside every digest."""

import platform
from typing import Any


def environment(device: str, threads: int) -> dict[str, Any]:
    """Versions, device and threads; no host name, path or time, so that the same kind of machine writes the same."""
    import numpy
    import torch
    import torchvision

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
        "machine": platform.machine(),
        "device": device,
        "threads": threads,
    }
