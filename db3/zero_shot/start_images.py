"""Start images without data: noise, then another source, until the teacher has decided each class's share.

Noise alone reaches few classes of a real network (four of MNIST's ten, 96 % of the decisions being one class), so each
origin has a limit, and the end is clear: either every class has its share, or the classes that were never decided are
named with what was tried. Every image asked is counted, also those that are left because their class has enough.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int, Int64, UInt8

from db3.errors import ConfigError, DataError, unknown_name
from db3.images.noise import noise_images
from db3.pixels import to_floats
from db3.search.driver import drive
from db3.search.ledger import Asks
from db3.teachers.base import Teacher, TeacherSpec

Source = Callable[[Sequence[int]], UInt8[np.ndarray, "m c h w"]]
"""The images of the given numbers (0, 1, 2, …), of the teacher's shape; each image a function of its number."""

_ROUND = 512  # images asked before their decisions are looked at; bounds memory, and is part of what is counted
_ORIGINS = {"noise": "of noise", "source": "of the fallback source"}


@dataclass(frozen=True)
class Starts:
    """Start images, as nearly in equal numbers of each class as the teacher's answers allow.

    Attributes:
        images: exactly as asked; the classes take turns, so that any beginning is as balanced as the whole.
        decisions: the teacher's decision on each.
        answers: by origin (`noise`, `source`), how often each class was the answer.
        wanted: share of each class.
    """

    images: UInt8[np.ndarray, "n c h w"]
    decisions: Int64[np.ndarray, " n"]
    answers: dict[str, Int64[np.ndarray, " k"]]
    wanted: Int64[np.ndarray, " k"]

    @property
    def queries(self) -> dict[str, int]:
        """Images asked, by origin."""
        return {origin: int(counts.sum()) for origin, counts in self.answers.items()}

    @property
    def missing(self) -> tuple[int, ...]:
        """Classes that were never decided."""
        return tuple(map(int, np.flatnonzero(np.bincount(self.decisions, minlength=len(self.wanted)) == 0)))

    @property
    def tried(self) -> str:
        """What was asked, in words."""
        return " and ".join(f"{count:,} {_ORIGINS[origin]}" for origin, count in self.queries.items())


def find_starts(
    teacher: Teacher,
    count: int,
    limits: Mapping[str, int],
    seed: int,
    source: Source | None = None,
    on_asked: Callable[[int], None] | None = None,
) -> Starts:
    """Ask noise, then the source, until each class has its share of `count` images or the limits are reached.

    Args:
        teacher: decides.
        count: images wanted; the first classes have one more where K does not divide it.
        limits: queries that `noise` and `source` may cost.
        seed: of the noise.
        source: further images; None: noise alone.
        on_asked: called with the number of images after every call (progress).

    Returns:
        Perhaps fewer images than wanted, see `Starts.missing`.

    Raises:
        ConfigError: fewer images, or fewer queries, than classes.
        DataError: the source's images are of another shape than the teacher's, or its bounds are not [0, 1].
    """
    spec = teacher.spec
    _check(spec, count, sum(limits.values()))
    shares = _Shares(spec.classes, count)

    def noise(numbers: Sequence[int]) -> UInt8[np.ndarray, "m c h w"]:
        return noise_images(spec.input_shape, numbers, seed)

    origins = {"noise": noise} if source is None else {"noise": noise, "source": source}
    drive([_asks(spec, origins, limits, shares)], teacher, on_asked=on_asked, keep=False)
    return shares.starts(spec)


def check_starts(starts: Starts, missing: Literal["error", "allow"], class_names: Sequence[str] | None = None) -> None:
    """Refuse start images between which there is no boundary, or, unless allowed, that lack a class.

    Raises:
        DataError: names the classes and what was tried.
    """
    if missing not in ("error", "allow"):
        raise unknown_name("choice for missing classes", missing, ("error", "allow"))
    names = class_names or [str(k) for k in range(len(starts.wanted))]
    present = np.unique(starts.decisions)
    if len(present) < 2:
        raise DataError(
            f"the teacher answered class {names[int(present[0])]} to all images asked ({starts.tried}); a boundary "
            "needs a second class: give another source of start images, or raise the limits on them"
        )
    if starts.missing and missing == "error":
        shown = ", ".join(names[k] for k in starts.missing[:10])
        more = f" and {len(starts.missing) - 10} more" if len(starts.missing) > 10 else ""
        raise DataError(
            f"the teacher decided none of the images asked ({starts.tried}) as: {shown}{more}; give another source of "
            "start images, raise the limits on them, or allow missing classes"
        )


class _Shares:
    """The images kept so far, class by class, in the order asked."""

    def __init__(self, classes: int, count: int) -> None:
        self.wanted = np.full(classes, count // classes) + (np.arange(classes) < count % classes)
        self.answers: dict[str, Int64[np.ndarray, " k"]] = {}
        self._kept: list[list[UInt8[np.ndarray, "c h w"]]] = [[] for _ in range(classes)]

    @property
    def full(self) -> bool:
        return all(len(kept) == wanted for kept, wanted in zip(self._kept, self.wanted, strict=True))

    def offer(self, origin: str, images: UInt8[np.ndarray, "m c h w"], decisions: Int64[np.ndarray, " m"]) -> None:
        self.answers[origin] += np.bincount(decisions, minlength=len(self.wanted))
        for k in np.unique(decisions):
            room = self.wanted[k] - len(self._kept[k])
            self._kept[k] += [images[place].copy() for place in np.flatnonzero(decisions == k)[:room]]

    def starts(self, spec: TeacherSpec) -> Starts:
        turns = sorted((turn, k) for k, kept in enumerate(self._kept) for turn in range(len(kept)))
        images = np.array([self._kept[k][turn] for turn, k in turns], np.uint8).reshape(-1, *spec.input_shape)
        return Starts(images, np.array([k for _, k in turns], np.int64), self.answers, self.wanted)


def _asks(spec: TeacherSpec, origins: Mapping[str, Source], limits: Mapping[str, int], shares: _Shares) -> Asks:
    for origin, make in origins.items():
        shares.answers[origin] = np.zeros(spec.classes, np.int64)
        for numbers in _rounds(limits[origin]):
            if shares.full:
                return
            images = make(numbers)
            _check_images(images, len(numbers), spec)
            decisions: Int[torch.Tensor, " m"] = yield to_floats(images).flatten(1)
            shares.offer(origin, images, decisions.cpu().numpy())


def _rounds(limit: int) -> Iterable[range]:
    return (range(start, min(start + _ROUND, limit)) for start in range(0, limit, _ROUND))


def _check(spec: TeacherSpec, count: int, queries: int) -> None:
    if spec.bounds != (0.0, 1.0):
        raise DataError(
            f"the teacher's bounds are [{spec.bounds[0]:g}, {spec.bounds[1]:g}], but pseudo samples are images in "
            "[0, 1]: scale the pixels inside the adapter"
        )
    for what, given in (("images", count), ("queries for start images", queries)):
        if given < spec.classes:
            raise ConfigError(
                f"{given} {what} for {spec.classes} classes; expected one of each class at least: raise the count, the "
                "budget or the limits"
            )


def _check_images(images: UInt8[np.ndarray, "m c h w"], count: int, spec: TeacherSpec) -> None:
    if images.shape != (count, *spec.input_shape):
        raise DataError(
            f"the fallback source made images of shape {list(images.shape)}; expected {[count, *spec.input_shape]}: "
            "give it the teacher's shape (C, H, W)"
        )
