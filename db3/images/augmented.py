"""Augmented images: small warps and pairwise mixes of the samples, each a function of (samples, seed, its number).

The strongest competitor of boundary distances at equal queries: ask the teacher about variations instead. Image i
descends from sample i mod N. Every image is warped (rotation, scale, shift, a smooth displacement); every second one is
mixed with another warped sample. They are rounded to uint8 and asked exactly as rounded. An image has the same bits in
any batch and on any machine, as those of `fields` do.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from db3.arithmetic.fields import warp
from db3.errors import BudgetSpent
from db3.images.draws import draw
from db3.progress import Progress
from db3.rng import Purpose
from db3.teachers.base import Teacher
from db3.teachers.decide import decide_all
from db3.types import TransferImages
from db3.work import Arrays, Run, Work, cut, run_here

_TURN, _SCALE, _SHIFT, _BEND = 0.13165249758739583, 0.15, 0.1, 0.06  # the first: tangent of half of 15°
_KNOTS = 4  # the displacement field is drawn on a 4x4 grid and interpolated
_CHUNK = 1024  # images made at once: what fits a processor's cache; changes no image
_DRAWS = 4 + 2 * _KNOTS * _KNOTS
_PIECE = 16384  # images decided in one piece of work
_CODE = ("teachers", "networks", "arithmetic", "rng", "images", "pixels")


def augmented_images(
    images: UInt8[np.ndarray, "n c h w"], numbers: Sequence[int], seed: int
) -> UInt8[np.ndarray, "m c h w"]:
    """The augmented images of the given numbers (0, 1, 2, …)."""
    chunks = [numbers[start : start + _CHUNK] for start in range(0, len(numbers), _CHUNK)]
    with Progress("making augmented images", len(numbers), "img", inner=True) as progress:
        parts = [_augment(images, chunk, seed) for chunk in progress.over(chunks)]
    return np.concatenate(parts) if parts else images[:0]


def decide_augmented(
    teacher: Teacher,
    pool: TransferImages,
    numbers: range,
    seed: int,
    run: Run = run_here,
    name: str = "augmented",
) -> Int64[np.ndarray, " m"]:
    """The teacher's decisions on some augmented images, which are never stored: they can be made again.

    Args:
        teacher: decides.
        pool: the samples that the images descend from.
        numbers: of the images to ask about.
        seed: of the images.
        run: brings the pieces about (`db3.work`).
        name: of this work, for people and for the file that its answers are sealed in.

    Returns:
        One for each number in their order; fewer where the teacher refuses to go on.
    """
    parts = [numbers[part.start : part.stop] for part in cut(len(numbers), _PIECE)]

    def compute(index: int) -> Arrays:
        images, size = augmented_images(pool.images, parts[index], seed), teacher.spec.max_batch
        answers = [np.empty(0, np.int64)]
        calls = [images[start : start + size] for start in range(0, len(images), size)]
        with Progress("asking about augmented images", len(images), "query", inner=True) as progress:
            try:
                for call in progress.over(calls):
                    answers.append(decide_all(teacher, call, size))
            except BudgetSpent:
                pass
        return {"decisions": np.concatenate(answers)}

    def decided_by(index: int) -> list[object]:
        return [teacher.spec.identity, pool.digest, seed, parts[index]]

    pieces = run(Work(name, compute, decided_by, [len(part) for part in parts], _CODE))
    found = [np.empty(0, np.int64)]
    for part, piece in zip(parts, pieces, strict=True):  # decision i belongs to number i: none may be missing before it
        found.append(piece["decisions"])
        if len(piece["decisions"]) < len(part):
            break
    return np.concatenate(found)


def augmented_parents(samples: int, numbers: Sequence[int], seed: int) -> Int64[np.ndarray, "m 2"]:
    """The two samples that each augmented image descends from; twice the same where it is no mix.

    Args:
        samples: N, how many there are.
        numbers: of the images.
        seed: of the images.
    """
    parent, partner, share = _drawn(samples, torch.tensor(numbers, dtype=torch.int64), seed)
    return torch.stack([parent, torch.where(share > 0, partner, parent)], dim=1).numpy()


def augmented_keys(samples: int, numbers: Sequence[int], seed: int) -> Int64[np.ndarray, "m 3"]:
    """(sample, other sample, turn) of each augmented image: those of `augmented_parents`, and the how-manieth it is of
    its sample.

    Args:
        samples: N, how many there are.
        numbers: of the images.
        seed: of the images.
    """
    turns = np.array(numbers, np.int64) // samples
    return np.column_stack([augmented_parents(samples, numbers, seed), turns])


def _drawn(
    samples: int, number: Int64[Tensor, " m"], seed: int
) -> tuple[Int64[Tensor, " m"], Int64[Tensor, " m"], Float[Tensor, " m"]]:
    """Of each image its sample, the one that is mixed in, and how much of that: 0 for none."""
    parent, drawn = number % samples, draw(seed, Purpose.AUGMENTED_PARTNER, number, 2)
    partner = (parent + 1 + (drawn[:, 0] * (samples - 1)).long()) % samples
    return parent, partner, torch.where((number // samples) % 2 == 1, 0.25 + 0.5 * drawn[:, 1], 0.0)


def _augment(images: UInt8[np.ndarray, "n c h w"], numbers: Sequence[int], seed: int) -> UInt8[np.ndarray, "m c h w"]:
    number = torch.tensor(numbers, dtype=torch.int64)
    parent, partner, mixed = _drawn(len(images), number, seed)
    made = _warp(_pixels(images, parent), seed, number, 0)
    second = mixed.nonzero()[:, 0]
    other = _warp(_pixels(images, partner[second]), seed, number[second], 1)
    share = mixed[second, None, None, None]
    made[second] = (1 - share) * made[second] + share * other
    return made.mul_(255).round_().clamp_(0, 255).to(torch.uint8).numpy()


def _pixels(images: UInt8[np.ndarray, "n c h w"], index: Int64[Tensor, " m"]) -> Float[Tensor, "m c h w"]:
    return torch.from_numpy(np.asarray(images[index.numpy()])).float() / 255


def _warp(
    images: Float[Tensor, "m c h w"], seed: int, number: Int64[Tensor, " m"], which: int
) -> Float[Tensor, "m c h w"]:
    """Rotate, scale, shift and bend each image by its own draws, the first's or the second's; the border repeats."""
    draws = draw(seed, Purpose.AUGMENTED_WARP, number, _DRAWS, (which, 0)) * 2 - 1
    knots = draws[:, 4:].view(-1, 2, _KNOTS, _KNOTS) * _BEND
    return warp(images, draws[:, 0] * _TURN, 1 + draws[:, 1] * _SCALE, draws[:, 2:4] * _SHIFT, knots)
