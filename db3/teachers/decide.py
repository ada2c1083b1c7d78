"""Decisions on images as they lie on the disk: in one go (`decide_all`), in pieces (`decide_images`), a second time."""

from contextlib import nullcontext

import numpy as np
import torch
from jaxtyping import Float, Int, Int64, UInt8
from torch import Tensor, nn

from db3.arithmetic import is_exact
from db3.pixels import to_floats
from db3.progress import Progress
from db3.teachers.base import Teacher
from db3.teachers.checks import checked_decisions
from db3.teachers.votes import asking_again
from db3.work import Arrays, Run, Work, cut, run_here

_CODE = ("teachers", "networks", "arithmetic", "rng", "pixels")
_PIECE = 16384  # images


def decide_all(
    model: nn.Module | Teacher, images: UInt8[np.ndarray, "n c h w"] | UInt8[Tensor, "n c h w"], batch: int
) -> Int[np.ndarray, " n"]:
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
    what, unit = ("deciding", "img") if isinstance(model, nn.Module) else ("asking the teacher", "query")
    with Progress(what, len(images), unit, inner=True) as progress:
        for start in range(0, len(images), size):
            part = to_floats(images[start : start + size])
            told = _decide(model, part, size) if isinstance(model, nn.Module) else _ask(model, part)
            answers.append(told.cpu().numpy())
            progress.advance(len(part))
    return np.concatenate(answers)


def decide_images(
    teacher: Teacher,
    images: UInt8[np.ndarray, "n c h w"],
    name: str = "samples",
    run: Run = run_here,
    again: bool = False,
) -> Int64[np.ndarray, " n"]:
    """The teacher's decision on every image.

    Args:
        teacher: decides.
        images: uint8, asked as `uint8 / 255`; may be memory-mapped.
        name: what they are, for people; two works of one name and the same images are one.
        run: brings the pieces about.
        again: decide by later answers than the first ones, which may be known.

    Raises:
        BudgetSpent: the teacher refuses to go on; a part of the decisions is of no use.
    """
    parts = cut(len(images), _PIECE)

    def compute(index: int) -> Arrays:
        with asking_again() if again else nullcontext():
            return {"decisions": decide_all(teacher, _rows(images, parts[index]), teacher.spec.max_batch)}

    def decided_by(index: int) -> list[object]:
        return [teacher.spec.identity, _rows(images, parts[index])]

    pieces = run(Work(name, compute, decided_by, [len(part) for part in parts], _CODE))
    return np.concatenate([np.empty(0, np.int64), *(piece["decisions"] for piece in pieces)])


def recheck(
    teacher: Teacher,
    images: UInt8[np.ndarray, "n c h w"],
    decisions: Int64[np.ndarray, " n"],
    count: int,
    run: Run = run_here,
) -> tuple[int, int]:
    """Ask some images a second time: how often the teacher decides otherwise.

    Args:
        teacher: decides.
        images: asked before.
        decisions: the first ones.
        count: images to ask again, spread evenly over all; at most all.
        run: brings the pieces about.

    Returns:
        Images compared, and those of them whose decision changed.

    Raises:
        BudgetSpent: the teacher refuses to go on.
    """
    rows = np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(np.int64))
    again = decide_images(teacher, images[rows], "recheck", run, again=True)
    return len(rows), int((decisions[rows] != again).sum())


def _rows(images: UInt8[np.ndarray, "n c h w"], part: range) -> UInt8[np.ndarray, "m c h w"]:
    return images[part.start : part.stop]


def _ask(teacher: Teacher, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
    return checked_decisions(teacher.decide(images), len(images), teacher.spec)


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
