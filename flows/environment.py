"""What is known of the machine: in no versioned file, but beside them (docs/pipeline.md)."""

import platform
from pathlib import Path

import numpy as np
import torch
import torchvision

from db3.files import read_json
from flows.manifests import Environment, to_json, write_manifest

ENVIRONMENT = "environment.json"


def environment(
    device: str, threads: int, processes: int | None = None, onnx_difference: float | None = None
) -> Environment:
    """Versions, device and threads; no host name, path or time."""
    versions = platform.python_version(), torch.__version__, torchvision.__version__, np.__version__
    return Environment(*map(str, versions), platform.machine(), device, threads, processes, onnx_difference)


def write_environment(data: Path, stage: str, found: Environment) -> None:
    """Write what a stage ran on to data/environment.json, beside that of the others."""
    path = data / ENVIRONMENT
    write_manifest(path, {**(read_json(path) if path.is_file() else {}), stage: to_json(found)})
