"""A teacher that a benchmark trains itself: once, then read from where it was kept."""

from pathlib import Path

import numpy as np
from torch import nn

from db3.datasets import Dataset
from db3.digest import digest_json
from db3.networks import build, load_weights, save_weights
from db3.teachers.train import train_teacher
from db3.training.train import TrainSettings

KEPT = Path(".db3/teachers")
"""Where they are kept; git ignores it."""

_BATCH, _WARMUP = 64, 50


def trained_network(
    dataset: Dataset, architecture: str, steps: int, kept: Path | None = None
) -> tuple[nn.Module, Path]:
    """A network trained on the whole training part with its labels, in evaluation mode on the CPU; and its file.

    Args:
        dataset: with labels.
        architecture: a name that `db3.networks.build` knows.
        steps: of the optimiser, 64 images each.
        kept: folder of the file, which serves every benchmark of the same arguments; None: `KEPT`.

    Raises:
        ConfigError: an unknown architecture.
    """
    classes, shape = len(dataset.class_names), dataset.image_shape
    told = digest_json([dataset.digest, architecture, steps, _BATCH])[:12]
    file = (kept or KEPT) / f"{architecture}-{told}.safetensors"
    network = build(architecture, shape, classes, seed=None)
    if file.is_file():
        load_weights(network, file)
        return network.eval(), file
    part = dataset.train()
    training = TrainSettings(steps=steps, batch=_BATCH, lr=1e-3, warmup=min(_WARMUP, steps // 2), arithmetic="float32")
    network, _ = train_teacher(architecture, part.images, np.asarray(part.labels), classes, training, seed=1)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_weights(network, file, {})
    return network, file
