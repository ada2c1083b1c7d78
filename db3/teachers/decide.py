"""Decisions of a network or a teacher on images as they lie on the disk."""

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from db3.arithmetic import is_exact
from db3.teachers.base import Teacher


def decide_all(model: nn.Module | Teacher, images: UInt8[np.ndarray, "n c h w"], batch: int) -> Int[np.ndarray, " n"]:
    """Top-1 class of every image; pixels reach the model as float32 `uint8 / 255`.

    A network is called with exactly `batch` rows each time, the last call padded by repeating its first image, so an
    image's decision depends neither on how many images there are nor on its neighbours; an exact twin
    (`db3.arithmetic.to_exact`) needs no padding for that, and decides alike on every machine. A teacher is asked at
    most `spec.max_batch` images at a time (`batch` is not used); wrap it in `Batching` for the same guarantee.

    Args:
        model: a network that maps [n, C, H, W] to logits [n, K] (put in evaluation mode for the calls), or a teacher.
        images: uint8 [N, C, H, W]; may be memory-mapped, and is read one call at a time.
        batch: rows of a network's call shape.

    Returns:
        int64 [N].
    """
    size = batch if isinstance(model, nn.Module) else model.spec.max_batch
    answers = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(images), size):
        part = _as_floats(images[start : start + size])
        answers.append((_decide(model, part, size) if isinstance(model, nn.Module) else model.decide(part)).numpy())
    return np.concatenate(answers)


def _as_floats(images: UInt8[np.ndarray, "n c h w"]) -> Float[Tensor, "n c h w"]:
    return torch.from_numpy(np.array(images)).to(torch.float32) / 255


def _decide(network: nn.Module, images: Float[Tensor, "n c h w"], size: int) -> Int[Tensor, " n"]:
    count, training = len(images), network.training
    missing = 0 if is_exact(network) else size - count
    padded = torch.cat([images, images[:1].expand(missing, *images.shape[1:])]) if missing else images
    first = next(network.parameters(), None)
    try:
        with torch.inference_mode():
            logits: Tensor = network.eval()(padded if first is None else padded.to(first.device))
            return logits.argmax(dim=1)[:count].cpu()
    finally:
        network.train(training)
