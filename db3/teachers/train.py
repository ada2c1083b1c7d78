"""A local teacher, trained on true labels with the students' own loop."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Int64, UInt8
from torch import nn

from db3.training.checkpoint import Checkpoint
from db3.training.examples import Examples, network_for, smoothed
from db3.training.train import HistoryRow, TrainSettings, train


def train_teacher(
    architecture: str,
    images: UInt8[np.ndarray, "n c h w"],
    labels: Int64[np.ndarray, " n"],
    classes: int,
    settings: TrainSettings,
    *,
    seed: int,
    label_smoothing: float = 0.0,
    on_step: Callable[[], object] | None = None,
    device: str = "cpu",
    checkpoint: Checkpoint | None = None,
) -> tuple[nn.Module, list[HistoryRow]]:
    """Build and train a teacher: cross-entropy with the true labels, images normalised per channel.

    Args:
        architecture: a name that `db3.networks.build` knows.
        images: the training images; their mean and standard deviation become the network's first layer.
        labels: true classes, 0 … K−1.
        classes: K.
        settings: with `ce` above 0 and `kl` 0; `select: best` holds a part of the images out.
        seed: of the weights, the order and the changes.
        label_smoothing: share of each label that is spread evenly over all classes; 0: none.
        on_step: called after every step.
        device: where to compute; the network comes back on the CPU in evaluation mode.
        checkpoint: see `db3.training.train.train`.

    Raises:
        DataError: no image, or not one label per image.
        ConfigError: an unknown architecture.
        Db3Error: the loss became NaN or infinite.
    """
    examples = Examples(images, labels)
    if label_smoothing:
        examples = Examples(images, labels, smoothed(examples.decisions, classes, label_smoothing))
        settings = replace(settings, ce=0.0, kl=settings.ce)
    network = network_for(architecture, images, classes, seed)
    history = train(network, examples, settings, seed, on_step=on_step, device=device, checkpoint=checkpoint)
    return network, history
