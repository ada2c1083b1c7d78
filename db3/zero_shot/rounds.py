"""Rounds: spend a budget of decisions on the images that teach most, from priors alone or from a few real images.

The first share of the budget goes to prior images (or to the real ones and variations of them). Then, round by round:
train a surrogate on the decisions so far; propose fresh prior images and variations of decided images; let the
surrogate predict their classes; choose by quotas that favour classes with few images; ask the teacher about the chosen
ones only. Every image is uint8 and a function of (seed, its number, its parents), and a round is one ask: in exact
arithmetic the result depends on the teacher's answers, the settings and the seed alone; in float32 also, through the
surrogates, on the machine's kernels and its threads. It does not depend on how the teacher's calls are packed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Int64, UInt8
from torch import nn

from db3.arithmetic import to_exact
from db3.datasets.subset import draw_samples
from db3.errors import ConfigError, DataError, TeacherError
from db3.images.parents import draw_parents
from db3.images.priors import prior_images
from db3.images.variations import Strength, variations
from db3.networks.fitting import fitted
from db3.progress import Progress
from db3.rng import Purpose, derived_seed
from db3.settings.declare import Doc, Ge, Gt, settings
from db3.settings.samples import Rounds
from db3.settings.training import Portion
from db3.teachers.base import ImageShape, Teacher
from db3.teachers.decide import decide_all
from db3.training.examples import Examples, network_for
from db3.training.train import TrainSettings, train
from db3.work import Arrays, Run, Work, run_here
from db3.zero_shot.quotas import choose

Images = UInt8[np.ndarray, "_ c h w"]
SOURCES = ("real", "prior", "variation")
REAL, PRIOR, VARIATION = range(3)
_CALL = 256  # rows of a surrogate's call
_CODE = (
    *("teachers", "networks", "images", "zero_shot", "training", "arithmetic", "search", "datasets"),
    *("rng", "types", "pixels"),
)
_ARRAYS = ("images", "decisions", "rounds", "sources")


@settings
class RoundSettings(Rounds):
    """How the budget is spent: the parameters, and what no file sets."""

    loyalty: Annotated[Portion, Doc("share of the variations whose first parent is real, if any image is")] = 0.5
    real: Annotated[Portion, Doc("at most this share of the budget goes to the real images themselves")] = 0.5
    batch: Annotated[int, Ge(1), Doc("images a step of a surrogate's training")] = 128
    lr: Annotated[float, Gt(0), Doc("of that training")] = 2e-3
    balance: Annotated[Portion, Doc("exponent of a surrogate's class weights, see `TrainSettings`")] = 0.5
    strength: Annotated[Strength, Doc("of variations")] = Strength()


_DEFAULT = RoundSettings()


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
        foretold: of each round, share of the images whose decision the surrogate had foretold.
    """

    images: UInt8[np.ndarray, "n c h w"]
    decisions: Int64[np.ndarray, " n"]
    rounds: Int64[np.ndarray, " n"]
    sources: Int64[np.ndarray, " n"]
    missing: tuple[int, ...]
    proposed: int
    foretold: tuple[float, ...] = ()

    @property
    def asked(self) -> int:
        return len(self.decisions)


def gather(
    teacher: Teacher,
    budget: int,
    settings: RoundSettings = _DEFAULT,
    *,
    seed: int = 0,
    real: UInt8[np.ndarray, "r c h w"] | None = None,
    on_asked: Callable[[int], object] | None = None,
    run: Run = run_here,
) -> Gathered:
    """Images that teach, decided within the budget: one piece of work, since each round builds on those before.

    Args:
        teacher: decides.
        budget: images asked in all, exactly.
        settings: how.
        seed: of images, choices and surrogates.
        real: the user's own images, in any number; None: none are used, and none is needed.
        on_asked: called with the number of images after each ask.
        run: brings the piece about (`db3.work`).

    Raises:
        BudgetSpent: the teacher refuses to go on.
        ConfigError: a budget below the number of classes.
        DataError: real images of another shape.
        TeacherError: the teacher gave one class to all of the images that half of the budget pays.
    """
    spec = teacher.spec
    _check(spec.input_shape, spec.classes, budget, real)

    def compute(_: int) -> Arrays:
        with Progress("gathering", budget, "query", inner=True) as progress:

            def asked(count: int) -> None:
                progress.advance(count)
                if on_asked:
                    on_asked(count)

            known = _Known(teacher, seed, settings, asked)
            for count in known.begin(budget, real):
                known.round(count)
            return known.arrays()

    def decided_by(_: int) -> list[object]:
        return [spec.identity, seed, budget, settings, real]

    bound = settings.arithmetic != "exact"
    (found,) = run(Work("made", compute, decided_by, [budget], _CODE, machine_bound=bound))
    counts = np.bincount(found["decisions"], minlength=spec.classes)
    missing = tuple(np.flatnonzero(counts == 0).tolist())
    foretold = tuple(map(float, found["foretold"]))
    arrays = {name: found[name] for name in _ARRAYS}
    return Gathered(**arrays, missing=missing, proposed=int(found["proposed"]), foretold=foretold)


class _Known:
    """What was asked so far, and the surrogate that has learnt it."""

    def __init__(
        self,
        teacher: Teacher,
        seed: int,
        settings: RoundSettings,
        on_asked: Callable[[int], object],
    ) -> None:
        self._teacher, self._shape, self._classes = teacher, teacher.spec.input_shape, teacher.spec.classes
        self._seed = seed
        self._settings, self._on_asked = settings, on_asked
        self._images: Images = np.empty((0, *self._shape), np.uint8)
        self._decisions = np.empty(0, np.int64)
        self._rounds, self._sources = np.empty(0, np.int64), np.empty(0, np.int64)
        self._surrogate: nn.Module | None = None
        self._turn = self._priors = self._children = self._real = 0
        self._foretold: list[float] = []
        self._fresh = 0.5

    def begin(self, budget: int, real: Images | None) -> Iterator[int]:
        """Ask the first share; yields how many to ask in each round."""
        settings = self._settings
        first = max(self._classes, round(settings.first * budget))
        real = np.empty((0, *self._shape), np.uint8) if real is None else real
        self._fresh = fresh_share(len(real) / self._classes) if settings.fresh == "auto" else settings.fresh
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
        for number in range(settings.count):
            yield left * (number + 1) // settings.count - left * number // settings.count

    def round(self, count: int) -> None:
        """Train, propose, choose, ask."""
        if not count:
            return
        self._turn += 1
        self._learn()
        fresh = round(count * self._fresh)
        pool, asked = self._settings.pool, len(self._decisions)
        priors, guessed = self._chosen(self._prior(pool * fresh), fresh, "prior")
        children, guessed_too = self._chosen(self._variations(pool * (count - fresh)), count - fresh, "variation")
        self._ask([(priors, PRIOR), (children, VARIATION)])
        right = np.concatenate([guessed, guessed_too]) == self._decisions[asked:]
        self._foretold.append(float(right.mean()))

    def arrays(self) -> Arrays:
        found = self._images, self._decisions, self._rounds, self._sources
        told = {"proposed": np.array(self._priors + self._children), "foretold": np.array(self._foretold)}
        return {**dict(zip(_ARRAYS, found, strict=True)), **told}

    def _prior(self, count: int) -> Images:
        numbers = range(self._priors, self._priors + count)
        self._priors += count
        return prior_images(self._shape, numbers, self._seed)

    def _variations(self, count: int) -> Images:
        numbers = np.arange(self._children, self._children + count)
        self._children += count
        parents = draw_parents(self._decisions, numbers, self._seed, self._real, self._settings.loyalty)
        return variations(self._images, parents, numbers, self._seed, self._settings.strength)

    def _chosen(self, images: Images, wanted: int, what: str) -> tuple[Images, Int64[np.ndarray, " _"]]:
        """Candidates chosen by quotas, and what the surrogate takes them for."""
        if self._surrogate is None or not len(images):
            return images[:0], np.empty(0, np.int64)
        counts = np.bincount(self._decisions, minlength=self._classes).astype(np.int64)
        exact = self._settings.arithmetic == "exact"
        network = to_exact(self._surrogate) if exact else self._surrogate
        predicted = decide_all(network, images, _CALL).astype(np.int64)
        chosen = choose(predicted, counts, wanted, self._seed, what, self._turn)
        return images[chosen], predicted[chosen]

    def _ask(self, parts: list[tuple[Images, int]]) -> None:
        images = np.concatenate([part for part, _ in parts])
        if not len(images):
            return
        decided = decide_all(self._teacher, images, self._teacher.spec.max_batch)
        self._images = np.concatenate([self._images, images])
        self._decisions = np.concatenate([self._decisions, decided])
        self._rounds = np.concatenate([self._rounds, np.full(len(images), self._turn)])
        self._sources = np.concatenate([self._sources, *(np.full(len(part), source) for part, source in parts)])
        self._on_asked(len(images))

    def _learn(self) -> None:
        settings = self._settings
        seed = derived_seed(self._seed, Purpose.ROUND, self._turn)
        if self._surrogate is None:
            architecture = fitted(settings.architecture, self._shape, small=True)
            self._surrogate = network_for(architecture, self._images, self._classes, seed)
        plan = TrainSettings(
            steps=settings.steps,
            batch=settings.batch,
            lr=settings.lr,
            balance=settings.balance,
            arithmetic=settings.arithmetic,
        )
        train(self._surrogate, Examples(self._images, self._decisions), plan, seed)

    def _constant(self) -> bool:
        return bool((self._decisions == self._decisions[0]).all())


def fresh_share(real: float) -> float:
    """Share of prior images beside so many real images a class: a half with none, a quarter with ten, 5 % with 90."""
    return 0.5 * 10 / (10 + real)


def _check(shape: ImageShape, classes: int, budget: int, real: Images | None) -> None:
    if budget < classes:
        raise ConfigError(f"the budget is {budget} queries for {classes} classes; expected at least one query a class")
    if real is not None and real.shape[1:] != shape:
        raise DataError(
            f"the real images have shape {list(real.shape[1:])}, the teacher's {list(shape)} (C, H, W): resize them "
            "or set the dataset's size and channels"
        )
    if real is not None and not len(real):
        raise DataError("there is no real image; expected one or more: give images, or use priors alone")
