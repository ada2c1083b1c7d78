"""The white-box baseline's teacher: its logits, which a black box never tells."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import nn

from db3.arithmetic import to_exact
from db3.progress import Progress
from db3.settings.training import Arithmetic
from db3.training.examples import pixels


def teacher_logits(
    network: nn.Module,
    images: UInt8[np.ndarray, "n c h w"],
    batch: int = 256,
    arithmetic: Arithmetic = "float32",
) -> Float[np.ndarray, "n k"]:
    """Logits of every image, `batch` at a time; `network` is put in evaluation mode.

    Returns:
        float32; in exact arithmetic float64, the same bits on every machine and for any batch.
    """
    network.eval()
    network = to_exact(network) if arithmetic == "exact" else network
    calls = [images[start : start + batch] for start in range(0, len(images), batch)]
    with Progress("labelling", len(images), "img", inner=True) as progress, torch.inference_mode():
        parts = [network(pixels(call)).numpy() for call in progress.over(calls)]
    return np.concatenate(parts)
