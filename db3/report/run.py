"""What the report is made of, as typed values; whoever has a run's files gathers them (flows/report.py)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from db3.evaluation import Metrics
from db3.gate.curve import CoveragePoint
from db3.report.snapshots import Snapshots


@dataclass(frozen=True)
class DatasetFacts:
    """The dataset: its name, digest, and how many images its splits hold."""

    name: str
    digest: str
    train: int
    test: int


@dataclass(frozen=True)
class TeacherFacts:
    """The teacher: what it is known by, how it came, its architecture (None: unknown) and its classes."""

    identity: str
    kind: str
    architecture: str | None
    class_names: Sequence[str]


@dataclass(frozen=True)
class SampleFacts:
    """The samples.

    Attributes:
        method: real, or how they were made.
        digest: of images and decisions.
        asked: queries.
        sources: how many of each kind, of samples made by rounds.
        proposed: images that these chose from.
        foretold: share of the last round's decisions that the surrogate had foretold; None: not told.
        purposes: what queries were spent on, of pseudo samples.
    """

    method: str
    digest: str
    asked: int = 0
    sources: Mapping[str, int] = field(default_factory=dict)
    proposed: int = 0
    purposes: Mapping[str, int] = field(default_factory=dict)
    foretold: float | None = None


@dataclass(frozen=True)
class SearchFacts:
    """The boundary searches.

    Attributes:
        method: their name; none: nothing was searched.
        digest: of what they found.
        budget: queries of a pair at most.
        checkpoints: queries per pair at which distances were kept.
        augmented: queries of the augmented baseline.
        spent: whether the budget ended them.
        unfinished: pairs that would have asked more.
    """

    method: str
    digest: str
    budget: int
    checkpoints: Sequence[int] = ()
    augmented: int = 0
    spent: bool = False
    unfinished: int = 0


@dataclass(frozen=True)
class TransferFacts:
    """The transfer set.

    Attributes:
        digest: of its arrays.
        mapping: of the samples' own labels.
        scale: its β or τ; None of bare decisions.
        boundary_points: held beside the samples.
        queried_images: likewise.
    """

    digest: str
    mapping: str
    scale: float | None = None
    boundary_points: int = 0
    queried_images: int = 0


@dataclass(frozen=True)
class VariantFacts:
    """A variant: its name, what it learnt from in words, what that cost, and whether decisions suffice for it."""

    name: str
    title: str
    queries_per_sample: float
    black_box: bool


@dataclass(frozen=True)
class ChoiceFacts:
    """The variant recommended.

    Attributes:
        name: of it.
        samples: held out, each once.
        agreed: how many of these each candidate decides as the teacher did, the student of the searches first; none
            where nothing was there to choose from.
        reason: why nothing was; None where it is not told.
        leads: of each candidate over the student of the searches, in standard errors.
    """

    name: str
    samples: int
    agreed: Mapping[str, int]
    reason: str | None = None
    leads: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """One student of one variant: a row of accuracy.csv (accuracy is None without labels)."""

    variant: str
    seed: int
    accuracy: float | None
    agreement: float | None


@dataclass(frozen=True)
class Loss:
    """A row of the student's history.csv."""

    variant: str
    seed: int
    step: int
    loss: float


@dataclass(frozen=True)
class FrontDoorRun:
    """What a report tells of a run of `db3.distill`. N samples, K classes.

    Attributes:
        name: of its folder.
        architecture: the student's.
        names: of the classes.
        sizes: weights of teacher (None: unknown) and student.
        agreement: share of the held-out images on which they agree; None: none were held out.
        held_out: how many were.
        made: whether these are made images.
        measured: the same with its interval, and the gate where one was chosen: the card's words.
        coverage: how much the student answers, against agreement, on the held-out images.
        asked: images wanted decided.
        sent: every attempt to send one.
        tokens: of questions and of answers that were billed, where the teacher says it.
        missing: classes that the teacher never decided.
        skipped: samples that it gave no class, left out.
        foretold: see `SampleFacts`.
        digests: (what, its digest), in the order they were made.
        settings: groups of parameters.
        images: the samples.
        decisions: the teacher's on each.
        soft_labels: as learnt.
    """

    name: str
    architecture: str
    names: Sequence[str]
    sizes: tuple[int | None, int]
    agreement: float | None
    held_out: int
    made: bool
    measured: str
    coverage: Sequence[CoveragePoint]
    asked: int
    sent: int
    tokens: tuple[int, int]
    missing: Sequence[str]
    skipped: int
    foretold: float | None
    digests: Sequence[tuple[str, str]]
    settings: Mapping[str, Any]
    images: UInt8[np.ndarray, "n c h w"]
    decisions: Int[np.ndarray, " n"]
    soft_labels: Float[np.ndarray, "n k"]

    @property
    def classes(self) -> int:
        """K."""
        return len(self.names)


@dataclass(frozen=True)
class Run:
    """Everything the report is made of. N samples, K classes, T checkpoints.

    Attributes:
        dataset: where the images come from.
        teacher: who decided.
        student: its architecture.
        variants: that were compared.
        metrics: every number.
        samples: how they came.
        search: of boundary distances.
        transfer: what the student learnt from.
        arithmetic: `exact` or `float32`, of each kind of network that decided bytes.
        images: the samples.
        decisions: the teacher's on each.
        soft_labels: as learnt; of bare decisions what their distances say, for the eye.
        distances: of each pair, +inf where its class was not reached.
        asked: queries of each pair.
        distances_at: at each checkpoint; None where there was none.
        confusion: counts, teacher by student.
        scores: of every student.
        losses: of every student, on the way.
        snapshots: of made samples.
        choice: which variant the student is, and why; None: not told.
        boundary: where the boundaries found lie, as a share of the way to the nearest sample of the other class.
        coverage: how much the exported student answers, against agreement; none where the teacher was not asked.
    """

    dataset: DatasetFacts
    teacher: TeacherFacts
    student: str
    variants: Sequence[VariantFacts]
    metrics: Metrics
    samples: SampleFacts
    search: SearchFacts
    transfer: TransferFacts
    arithmetic: Mapping[str, str]
    images: UInt8[np.ndarray, "n c h w"]
    decisions: Int[np.ndarray, " n"]
    soft_labels: Float[np.ndarray, "n k"]
    distances: Float[np.ndarray, "n k"]
    asked: Int[np.ndarray, "n k"]
    distances_at: Float[np.ndarray, "t n k"] | None
    confusion: Int[np.ndarray, "k k"]
    scores: Sequence[Score]
    losses: Sequence[Loss]
    snapshots: Snapshots | None = None
    coverage: Sequence[CoveragePoint] = ()
    choice: ChoiceFacts | None = None
    boundary: float | None = None

    @property
    def is_made(self) -> bool:
        """Whether queries were spent on making samples alone: then their number tells more than their share of one."""
        return self.samples.method != "real" and self.search.method == "none"

    @property
    def classes(self) -> int:
        """K."""
        return len(self.teacher.class_names)

    @property
    def names(self) -> list[str]:
        """Name of each class."""
        return list(self.teacher.class_names)
