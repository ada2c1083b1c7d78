"""Which variant to recommend, told from decisions already paid for: the student's own, unless another is clearly ahead.

Every candidate learns again without a part of the samples and is asked about that part; the teacher's decisions on it
are known. No query is sent, and no test image is looked at.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from db3.arithmetic import to_exact
from db3.students.baselines import CONTROLS
from db3.students.held_out import Fold, cross_validate
from db3.students.train import StudentSettings, TrainedStudent, train_variants
from db3.students.variants import Variant
from db3.teachers.decide import decide_all
from db3.work import Run, run_here

_FEWEST = 8  # samples of a fold: fewer tell nothing
_ENOUGH = 1000  # samples held out: more tell little more, and every fold costs a training of each candidate
_BATCH = 256

Right = Bool[np.ndarray, " h"]


@dataclass(frozen=True)
class Candidate:
    """A variant that may be recommended, on the samples held out.

    Attributes:
        name: of the variant.
        agreed: samples that it decides as the teacher did.
        better: of these, on how many the student's own variant does not.
        worse: samples on which only the student's own does.
    """

    name: str
    agreed: int
    better: int
    worse: int

    @property
    def lead(self) -> float:
        """How far it is ahead of the student's own, in standard errors of a difference of paired decisions.

        That error is √(better + worse) images (McNemar, Psychometrika 1947).
        """
        return (self.better - self.worse) / math.sqrt(max(1, self.better + self.worse))


@dataclass(frozen=True)
class Choice:
    """The variant recommended.

    Attributes:
        name: of it.
        samples: how many were held out, each once.
        candidates: the student's own first; none where there was nothing to choose from.
        reason: why there was nothing to choose from; absent where the student was chosen.
    """

    name: str = "student"
    samples: int = 0
    candidates: tuple[Candidate, ...] = ()
    reason: str | None = None


def candidates(variants: Sequence[Variant]) -> list[Variant]:
    """Those that may be recommended: no point of the student's curve, no control, nothing that no black box offers."""
    return [each for each in variants if each.black_box and "@" not in each.name and each.name not in CONTROLS]


def why_no_choice(
    variants: Sequence[Variant], samples: int, folds: int, *, descended: bool = False, assisted: bool = False
) -> str | None:
    """Why the student cannot be chosen among the variants; None where it can.

    Args:
        variants: see `choose_variant`.
        samples: how many there are to hold out.
        folds: that they would be cut into; 0: no choice is wanted.
        descended: whether the samples were made of each other.
        assisted: whether teacher assistants label what the student learns.
    """
    if not folds:
        return "distill.folds is 0"
    if len(candidates(variants)) < 2:
        return "there is no other variant that a black box allows"
    if descended:
        return "the samples were made in rounds and descend from each other, so none can be held out of the rest"
    if assisted:
        return "teacher assistants learnt from every sample, so none can be held out of what they label"
    if samples < _FEWEST * folds:
        return (
            f"{samples} samples are too few to hold out: {folds} folds (distill.folds) take {_FEWEST * folds} or more"
        )
    return None


def choose_variant(
    variants: Sequence[Variant],
    samples: UInt8[np.ndarray, "n c h w"],
    decisions: Int64[np.ndarray, " n"],
    classes: int,
    settings: StudentSettings,
    folds: int,
    run: Run = run_here,
    *,
    device: str = "cpu",
    processes: int = 1,
) -> Choice:
    """The variant that agrees best on samples held out; the first unless another leads by a standard error.

    Args:
        variants: the student's own first; those that `candidates` names are in the running.
        samples: what the variants' images are or descend from.
        decisions: the teacher's on them.
        classes: K.
        settings: how each is trained; with the first seed alone.
        folds: into which the samples are cut; each is held out in turn, until 1,000 samples were.
        run: who trains them, see `db3.work`.
        device: see `train_variants`, like `processes`.
        processes: see there.
    """
    running = candidates(variants)
    settings = replace(settings, seeds=settings.seeds[:1])
    held = _enough(cross_validate(running, len(samples), folds, settings.seeds[0]))
    jobs = [variant for fold in held for variant in fold.variants]
    trained = train_variants(jobs, classes, settings, run, device=device, processes=processes)
    right: dict[str, list[Right]] = {variant.name: [] for variant in running}
    for fold in held:
        for _ in fold.variants:
            student = next(trained)
            right[student.variant.name].append(_agree(student, samples[fold.held], decisions[fold.held], settings))
    return _choose({name: np.concatenate(parts) for name, parts in right.items()})


def _enough(folds: Iterable[Fold]) -> list[Fold]:
    """The first folds, until they hold as many samples as a choice needs."""
    taken: list[Fold] = []
    for fold in folds:
        taken.append(fold)
        if sum(len(each.held) for each in taken) >= _ENOUGH:
            break
    return taken


def _agree(
    student: TrainedStudent,
    images: UInt8[np.ndarray, "h c w x"],
    decisions: Int64[np.ndarray, " h"],
    settings: StudentSettings,
) -> Right:
    network = to_exact(student.network) if settings.training.arithmetic == "exact" else student.network
    right: Right = decide_all(network, images, _BATCH) == decisions
    return right


def _choose(right: dict[str, Right]) -> Choice:
    own, *_ = right.values()
    found = tuple(
        Candidate(name, int(each.sum()), int((each & ~own).sum()), int((own & ~each).sum()))
        for name, each in right.items()
    )
    leads = max(found, key=lambda each: (each.lead > 1, each.agreed if each.lead > 1 else 0))
    return Choice(leads.name if leads.lead > 1 else found[0].name, len(own), found)


def recommend(variants: Sequence[Variant], choice: Choice) -> list[Variant]:
    """The variants with the one chosen in the student's place; the student's own then stands beside it as `searched`.

    Its curve goes with it: the student recommended is no point on it.
    """
    own, *others = variants
    if choice.name == own.name:
        return list(variants)
    chosen = next(variant for variant in others if variant.name == choice.name)
    kept = [variant for variant in others if not variant.name.startswith(f"{own.name}@")]
    return [replace(chosen, name=own.name, title=f"recommended: {chosen.title}"), replace(own, name="searched"), *kept]
