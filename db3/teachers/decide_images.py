"""Decisions on images that are there already, as work in pieces."""

from contextlib import nullcontext

import numpy as np
from jaxtyping import Int64, UInt8

from db3.teachers.base import Teacher
from db3.teachers.decide import decide_all
from db3.teachers.votes import asking_again
from db3.work import Arrays, Run, Work, cut, run_here

_CODE = ("teachers", "networks")
_PIECE = 16384  # images


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
