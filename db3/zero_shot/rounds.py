"""Rounds: spend a budget of decisions on the images that teach most, from priors alone or from a few real images.

The first share of the budget goes to prior images (or to the real ones and variations of them). Then, round by round:
train a surrogate on the decisions so far; propose fresh prior images and variations of decided images; let the
surrogate predict their classes; choose by quotas that favour classes with few images; ask the teacher about the chosen
ones only. Every image is uint8 and a function of (seed, its number, its parents), a round is one ask, and predictions
are made in one call shape: the result depends on the teacher's answers, the settings and the seed, and, through the
surrogates' training, on the number of torch threads. It does not depend on how the teacher's calls are packed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64, UInt8
from torch import nn

from db3.datasets.subset import draw_samples
from db3.errors import ConfigError, DataError, TeacherError
from db3.images.parents import draw_parents
from db3.images.priors import prior_images
from db3.images.variations import Strength, variations
from db3.networks import build
from db3.rng import Purpose, derived_seed
from db3.teachers.base import ImageShape
from db3.teachers.decide import decide_all
from db3.training.examples import Examples, channel_statistics
from db3.training.train import TrainSettings, train
from db3.zero_shot.quotas import choose

Images = UInt8[np.ndarray, "_ c h w"]
Decide = Callable[[UInt8[np.ndarray, "n c h w"]], Int64[np.ndarray, " n"]]
"""uint8 images, any number of them, to the teacher's decisions, e.g. `partial(decide_all, teacher, batch=256)`."""

SOURCES = ("real", "prior", "variation")
REAL, PRIOR, VARIATION = range(3)
_CALL = 256  # rows of a surrogate's call


@dataclass(frozen=True)
class RoundSettings:
    """How the budget is spent.

    Attributes:
        first: share of the budget that is asked before any surrogate is trained.
        rounds: equal ones, of the rest.
        pool: candidates proposed for each image asked.
        fresh: share of each round that goes to prior images; the rest goes to variations of decided images. None: one
            half without real images, ever less with more of them (see `fresh_share`).
        loyalty: share of the variations whose first parent is a real image, where there are any.
        real: at most this share of the budget goes to the real images themselves.
        steps: of a surrogate's training, each round from the weights of the round before.
        batch, lr: of that training.
        architecture: of the surrogates.
        balance: exponent of a surrogate's class weights, see `TrainSettings`.
        strength: of variations.
    """

    first: float = 0.15
    rounds: int = 10
    pool: int = 6
    fresh: float | None = None
    loyalty: float = 0.5
    real: float = 0.5
    steps: int = 150
    batch: int = 128
    lr: float = 2e-3
    architecture: str = "lenet5_half"
    balance: float = 0.5
    strength: Strength = field(default_factory=Strength)


@dataclass(frozen=True)
class Gathered:
    """Decided images in the order they were asked.

    Attributes:
        images: uint8, exactly as asked.
        decisions: the teacher's.
        rounds: the round in which each was asked; 0 before any surrogate.
        sources: what each is, a place in `SOURCES`.
        missing: classes that the teacher never said.
        proposed: candidates made in all, asked or not: what was tried for the missing classes.
    """

    images: UInt8[np.ndarray, "n c h w"]
    decisions: Int64[np.ndarray, " n"]
    rounds: Int64[np.ndarray, " n"]
    sources: Int64[np.ndarray, " n"]
    missing: tuple[int, ...]
    proposed: int

    @property
    def asked(self) -> int:
        return len(self.decisions)


def gather(
    decide: Decide,
    shape: ImageShape,
    classes: int,
    budget: int,
    settings: RoundSettings = RoundSettings(),
    *,
    seed: int = 0,
    real: UInt8[np.ndarray, "r c h w"] | None = None,
    on_asked: Callable[[int], object] | None = None,
) -> Gathered:
    """Images that teach, decided within the budget.

    Args:
        decide: asks the teacher; called once a round, with all images of the round.
        shape: (C, H, W) of the teacher's images.
        classes: K.
        budget: images asked in all, exactly.
        settings: how.
        seed: of images, choices and surrogates.
        real: the user's own images, in any number; None: none are used, and none is needed.
        on_asked: told the number of images after each ask.

    Raises:
        ConfigError: a budget below the number of classes, or settings out of range.
        DataError: real images of another shape.
        TeacherError: the teacher gave one class to all of the images that half of the budget pays.
    """
    _check(shape, classes, budget, settings, real)
    known = _Known(decide, shape, classes, seed, settings, on_asked)
    for count in known.begin(budget, real):
        known.round(count)
    return known.gathered()


class _Known:
    """What was asked so far, and the surrogate that has learnt it."""

    def __init__(
        self,
        decide: Decide,
        shape: ImageShape,
        classes: int,
        seed: int,
        settings: RoundSettings,
        on_asked: Callable[[int], object] | None,
    ) -> None:
        self._decide, self._shape, self._classes, self._seed = decide, shape, classes, seed
        self._settings, self._on_asked = settings, on_asked
        self._images: Images = np.empty((0, *shape), np.uint8)
        self._decisions = np.empty(0, np.int64)
        self._rounds, self._sources = np.empty(0, np.int64), np.empty(0, np.int64)
        self._surrogate: nn.Module | None = None
        self._turn = self._priors = self._children = self._real = 0
        self._fresh = 0.5

    def begin(self, budget: int, real: Images | None) -> Iterator[int]:
        """Ask the first share; yields how many to ask in each round."""
        settings = self._settings
        first = max(self._classes, round(settings.first * budget))
        real = np.empty((0, *self._shape), np.uint8) if real is None else real
        self._fresh = fresh_share(len(real) / self._classes) if settings.fresh is None else settings.fresh
        if len(real):
            kept = real[draw_samples(len(real), min(len(real), max(1, int(settings.real * budget))), self._seed)]
            self._ask([(kept, REAL)])
            self._real = len(kept)
            rest = max(0, first - len(kept))
            self._ask([(self._variations(rest - round(rest * self._fresh)), VARIATION)])
            self._ask([(self._prior(round(rest * self._fresh)), PRIOR)])
        else:
            self._ask([(self._prior(first), PRIOR)])
        while self._constant() and 2 * len(self._decisions) < budget:
            self._ask([(self._prior(min(first, budget - len(self._decisions))), PRIOR)])
        if self._constant():
            raise TeacherError(
                f"the teacher decided class {self._decisions[0]} for all of the first {len(self._decisions)} images; "
                "expected two classes or more: check its preprocessing and bounds, or give real images"
            )
        left = budget - len(self._decisions)
        for number in range(settings.rounds):
            yield left * (number + 1) // settings.rounds - left * number // settings.rounds

    def round(self, count: int) -> None:
        """Train, propose, choose, ask."""
        if not count:
            return
        self._turn += 1
        self._learn()
        fresh = round(count * self._fresh)
        pool = self._settings.pool
        self._ask(
            [
                (self._chosen(self._prior(pool * fresh), fresh, "prior"), PRIOR),
                (self._chosen(self._variations(pool * (count - fresh)), count - fresh, "variation"), VARIATION),
            ]
        )

    def gathered(self) -> Gathered:
        counts = np.bincount(self._decisions, minlength=self._classes)
        missing = tuple(np.flatnonzero(counts == 0).tolist())
        return Gathered(
            self._images, self._decisions, self._rounds, self._sources, missing, self._priors + self._children
        )

    def _prior(self, count: int) -> Images:
        numbers = range(self._priors, self._priors + count)
        self._priors += count
        return prior_images(self._shape, numbers, self._seed)

    def _variations(self, count: int) -> Images:
        numbers = np.arange(self._children, self._children + count)
        self._children += count
        parents = draw_parents(self._decisions, numbers, self._seed, self._real, self._settings.loyalty)
        return variations(self._images, parents, numbers, self._seed, self._settings.strength)

    def _chosen(self, images: Images, wanted: int, what: str) -> Images:
        if self._surrogate is None or not len(images):
            return images[:wanted]
        counts = np.bincount(self._decisions, minlength=self._classes).astype(np.int64)
        predicted = decide_all(self._surrogate, images, _CALL).astype(np.int64)
        return images[choose(predicted, counts, wanted, self._seed, what, self._turn)]

    def _ask(self, parts: list[tuple[Images, int]]) -> None:
        images = np.concatenate([part for part, _ in parts])
        if not len(images):
            return
        told = self._decide(images)
        self._images = np.concatenate([self._images, images])
        self._decisions = np.concatenate([self._decisions, told])
        self._rounds = np.concatenate([self._rounds, np.full(len(images), self._turn)])
        self._sources = np.concatenate([self._sources, *(np.full(len(part), source) for part, source in parts)])
        if self._on_asked:
            self._on_asked(len(images))

    def _learn(self) -> None:
        settings = self._settings
        seed = derived_seed(self._seed, Purpose.ROUND, self._turn)
        if self._surrogate is None:
            mean, std = channel_statistics(self._images)
            self._surrogate = build(settings.architecture, self._shape, self._classes, mean=mean, std=std, seed=seed)
        plan = TrainSettings(settings.steps, settings.batch, settings.lr, balance=settings.balance)
        train(self._surrogate, Examples(self._images, self._decisions), plan, seed)

    def _constant(self) -> bool:
        return bool((self._decisions == self._decisions[0]).all())


def fresh_share(real: float) -> float:
    """Share of prior images beside so many real images a class: a half with none, a quarter with ten, 5 % with 90."""
    return 0.5 * 10 / (10 + real)


def _check(shape: ImageShape, classes: int, budget: int, settings: RoundSettings, real: Images | None) -> None:
    if budget < classes:
        raise ConfigError(f"the budget is {budget} queries for {classes} classes; expected at least one query a class")
    if real is not None and real.shape[1:] != shape:
        raise DataError(
            f"the real images have shape {list(real.shape[1:])}, the teacher's {list(shape)} (C, H, W): resize them "
            "or set the dataset's size and channels"
        )
    if real is not None and not len(real):
        raise DataError("there is no real image; expected one or more: give images, or use priors alone")
    fresh = 0.0 if settings.fresh is None else settings.fresh
    if not 0 < settings.first <= 1 or not 0 <= fresh <= 1 or settings.rounds < 1 or settings.pool < 1:
        raise ConfigError(
            f"rounds are set to first {settings.first:g}, fresh {fresh:g}, rounds {settings.rounds}, pool "
            f"{settings.pool}; expected shares in 0 … 1 and whole numbers from 1 on"
        )
