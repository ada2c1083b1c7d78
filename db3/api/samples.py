"""The images that a student learns from, and those held out."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8

from db3.api.asking import Asking
from db3.api.plan import Plan
from db3.datasets.load_images import load_images
from db3.datasets.subset import draw_samples
from db3.errors import BudgetSpent, ConfigError, DataError
from db3.images.priors import prior_images
from db3.rng import Purpose, derived_seed, permutation
from db3.settings.samples import ROUNDED
from db3.teachers.base import ImageShape
from db3.teachers.decide import decide_images
from db3.teachers.fetch import clear_of
from db3.types import TransferImages
from db3.zero_shot.rounds import RoundSettings, gather

Images = UInt8[np.ndarray, "_ c h w"]


class Taken(NamedTuple):
    """Samples and what became of others.

    Attributes:
        pool: the samples and the teacher's decisions on them.
        foretold: share of the last round's decisions that the surrogate had foretold; None: there were no rounds.
        skipped: samples that the teacher gave no class, left out.
    """

    pool: TransferImages
    foretold: float | None = None
    skipped: int = 0


def read_pixels(images: object, shape: ImageShape) -> Images | None:
    """Images as the teacher is asked about them; None of None.

    Args:
        images: whatever `db3.load_images` takes.
        shape: (C, H, W) of the teacher.

    Raises:
        DataError: they cannot be read, or are of another shape.
    """
    found = load_images(images)
    if found is not None and found.shape != shape:
        raise DataError(
            f"images of shape {list(found.shape)} for a teacher of shape {list(shape)} (C, H, W): "
            f"load_images(…, size={list(shape[1:])}, channels={shape[0]})"
        )
    return None if found is None else found.images


def hold_out(images: Images | None, shape: ImageShape, plan: Plan) -> tuple[Images | None, Images]:
    """The images to learn from, and those to measure by; where there are none, made ones of another seed."""
    count, seed = plan.held_out, plan.settings.samples.seed
    if images is None:
        return None, prior_images(shape, range(count), derived_seed(seed, Purpose.HELD_OUT))
    rows = np.sort(np.array(permutation(len(images), seed, Purpose.HELD_OUT)[:count], np.int64))
    return np.delete(images, rows, axis=0), images[rows]


def ask(asking: Asking, images: Images, name: str) -> Int64[np.ndarray, " n"]:
    """The teacher's decisions on images.

    Raises:
        ConfigError: the limit does not pay for all of them.
    """
    try:
        return decide_images(asking, images, name, asking.run)
    except BudgetSpent as error:
        raise _too_little(error) from error


def take_samples(asking: Asking, images: Images | None, plan: Plan, *, skips: bool = False) -> Taken:
    """The samples, real or made, and the teacher's decisions on them.

    Args:
        asking: the teacher.
        images: to learn from; None: there are none.
        plan: how many, and how.
        skips: whether those are left out that the teacher gives no class, the last one standing for that.

    Raises:
        ConfigError: the limit does not pay for all of them, or the method needs what is not there.
        DataError: none is left.
    """
    found = _take(asking, images, plan)
    if not skips:
        return found
    clear = clear_of(found.pool.decisions, asking.spec.classes - 1)
    kept = TransferImages(found.pool.images[clear], found.pool.decisions[clear])
    return Taken(kept, found.foretold, int((~clear).sum()))


def _take(asking: Asking, images: Images | None, plan: Plan) -> Taken:
    group = plan.settings.samples
    if group.method == "real" and images is not None:
        kept = images[draw_samples(len(images), group.count, group.seed)]
        return Taken(TransferImages(kept, ask(asking, kept, "samples")))
    if group.method not in ROUNDED or (group.method == "augmented" and images is None):
        expected = "priors, without images" if images is None else "real, augmented or priors"
        raise ConfigError(f"samples.method is {group.method}; expected {expected}: the pipeline knows more")
    settings, real = RoundSettings(**vars(group.rounds)), images if group.method == "augmented" else None
    try:
        found = gather(asking, group.budget or 0, settings, seed=group.seed, real=real, run=asking.run)
    except BudgetSpent as error:
        raise _too_little(error) from error
    return Taken(TransferImages(found.images, found.decisions), found.foretold[-1] if found.foretold else None)


def _too_little(error: BudgetSpent) -> ConfigError:
    counts = str(error).partition(": raise ")[0]
    return ConfigError(
        f"limit does not pay for all queries ({counts}): raise it; what was answered is kept and not sent again"
    )
