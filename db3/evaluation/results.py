"""Every number of a run: what becomes metrics.json and summary.json."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int

from db3.errors import DataError
from db3.evaluation.certified import CertifiedAgreement
from db3.evaluation.measures import accuracy, agreement, summary

DECIMALS = 6  # finer than one image in a million, coarser than any float noise
SHOWN_BASELINES = ("hard", "smoothing", "augmented")  # the strongest competitors, and what decisions alone teach

Measure = Literal["accuracy", "agreement"]
Labels = Int[np.ndarray, " n"]


@dataclass(frozen=True)
class TeacherDecisions:
    """The teacher's decisions on the test images that it was asked about.

    Attributes:
        rows: int64 [m], places in the test split.
        decisions: int64 [m].
    """

    rows: Int[np.ndarray, " m"]
    decisions: Int[np.ndarray, " m"]

    @classmethod
    def on_all(cls, decisions: Labels) -> "TeacherDecisions":
        """On every test image, in their order."""
        return cls(np.arange(len(decisions)), decisions)

    def agreement(self, others: Labels) -> float:
        """Share of the images asked that `others`, decisions on the whole test split, decide alike."""
        return agreement(others[self.rows], self.decisions)


@dataclass(frozen=True)
class Size:
    """How large a model is; null where it cannot be known (a remote teacher).

    Attributes:
        parameters: weights.
        bytes: of the file or files that hold it.
        multiply_adds: for one image.
    """

    parameters: int | None = None
    bytes: int | None = None
    multiply_adds: int | None = None


@dataclass(frozen=True)
class VariantDecisions:
    """What the students of a variant decided on the test split.

    Attributes:
        name: `student`, a baseline's name, or `student@Q` for a point of the curve.
        queries_per_sample: queries asked per sample to train it.
        black_box: whether it needs nothing but decisions.
        decisions: int64 [n] for each seed.
    """

    name: str
    queries_per_sample: int | float
    black_box: bool
    decisions: Mapping[int, Int[np.ndarray, " n"]]

    @property
    def is_checkpoint(self) -> bool:
        """Whether it is a point on the student's curve and not a variant of its own."""
        return self.name.startswith("student@")


@dataclass(frozen=True)
class Spread:
    """A share over the seeds.

    Attributes:
        mean: over the seeds.
        sd: sample standard deviation (n − 1; 0 for one seed).
    """

    mean: float
    sd: float


@dataclass(frozen=True)
class TeacherMetrics:
    """The teacher.

    Attributes:
        accuracy: on the test images that it was asked about; null without labels, or where the budget did not pay.
        parameters: null where unknown.
        bytes: likewise.
        multiply_adds: likewise, for one image.
    """

    accuracy: float | None
    parameters: int | None
    bytes: int | None
    multiply_adds: int | None


@dataclass(frozen=True)
class StudentMetrics:
    """The student.

    Attributes:
        accuracy: on the test split; null without labels.
        agreement: share of the test images asked that it decides as the teacher; null where none was.
        parameters: weights.
        bytes: of its file.
        multiply_adds: for one image.
        digest: of its file.
    """

    accuracy: Spread | None
    agreement: Spread | None
    parameters: int | None
    bytes: int | None
    multiply_adds: int | None
    digest: str


@dataclass(frozen=True)
class BaselineMetrics:
    """A baseline.

    Attributes:
        accuracy: as the student's.
        agreement: as the student's.
        queries_per_sample: asked to train it.
        black_box: whether it needs nothing but decisions.
    """

    accuracy: Spread | None
    agreement: Spread | None
    queries_per_sample: float
    black_box: bool


@dataclass(frozen=True)
class CurvePoint:
    """A point of the student's curve.

    Attributes:
        queries_per_sample: asked by then.
        accuracy: as the student's.
    """

    queries_per_sample: float
    accuracy: Spread | None


@dataclass(frozen=True)
class QueryMetrics:
    """What was asked of the teacher.

    Attributes:
        asked: images, for samples and boundaries together.
        per_sample: what the student cost.
        spent: whether the budget ended the searches.
        evaluation: test images that the teacher was asked about, beside `asked`.
    """

    asked: int
    per_sample: float
    spent: bool
    evaluation: int


@dataclass(frozen=True)
class TransferMetrics:
    """What the student learnt from.

    Attributes:
        digest: of the transfer set.
    """

    digest: str


@dataclass(frozen=True)
class Int8Metrics:
    """The first student's int8 file, as onnxruntime runs it on this kind of machine.

    Attributes:
        accuracy: on the test split; null without labels.
        agreement: share of the test images asked that it decides as the teacher; null where none was.
        alike: share that it decides as the float32 file.
        bytes: of student.int8.onnx.
        float32_bytes: of student.onnx.
    """

    accuracy: float | None
    agreement: float | None
    alike: float
    bytes: int
    float32_bytes: int


@dataclass(frozen=True)
class Metrics:
    """Every number of a run. Fields never come and go, but for the last two: what is not known is null.

    Attributes:
        teacher: its worth and size.
        student: likewise.
        queries: what the teacher was asked.
        transfer: what the student learnt from.
        baselines: the other variants by name.
        curve: the student and the variants `student@Q`, by queries.
        test_images: in the test split.
        seeds: students of each variant.
        int8: the int8 file beside the others.
        certified: the exported student's agreement with its interval, where `evaluate.questions` says how many test
            images to ask about.
    """

    teacher: TeacherMetrics
    student: StudentMetrics
    queries: QueryMetrics
    transfer: TransferMetrics
    baselines: dict[str, BaselineMetrics]
    curve: tuple[CurvePoint, ...]
    test_images: int
    seeds: int
    int8: Int8Metrics | None = None
    certified: CertifiedAgreement | None = None

    @property
    def measure(self) -> Measure:
        """What students are compared by: accuracy, or agreement where the test images have no labels."""
        return "accuracy" if self.student.accuracy else "agreement"


@dataclass(frozen=True)
class Summary:
    """The few numbers of metrics.json that tell runs apart, flat and short: DVC's tables have a column for each.

    Attributes:
        accuracy: the student's mean; null without labels.
        agreement: the student's mean; null where the teacher was not asked.
        sd: of the student's accuracy, or agreement without labels.
        teacher: its accuracy.
        queries: per sample.
        transfer: first 12 digits of the transfer set's digest.
        hard: the baseline's mean accuracy (agreement without labels).
        smoothing: likewise.
        augmented: likewise.
    """

    accuracy: float | None
    agreement: float | None
    sd: float
    teacher: float | None
    queries: float
    transfer: str
    hard: float | None = None
    smoothing: float | None = None
    augmented: float | None = None


@dataclass(frozen=True)
class RunFacts:
    """What metrics tell of a run beside its students' decisions.

    Attributes:
        teacher: how large it is.
        student: how large it is.
        student_digest: of the exported student's file.
        queries_asked: for samples and boundaries together.
        queries_per_sample: what the student cost.
        transfer_digest: of the transfer set.
        budget_spent: whether the budget ended the searches.
    """

    teacher: Size
    student: Size
    student_digest: str
    queries_asked: int
    queries_per_sample: int | float
    transfer_digest: str
    budget_spent: bool = False


def build_metrics(
    teacher: TeacherDecisions | None, variants: Sequence[VariantDecisions], labels: Labels | None, facts: RunFacts
) -> Metrics:
    """Every number of a run, shares rounded to six decimals.

    Args:
        teacher: its decisions on test images; None: it was not asked.
        variants: decisions of their students on the test split.
        labels: true classes of the test split, if there are any.
        facts: what else the metrics hold.

    Raises:
        DataError: there is no variant named `student`, or a variant has no seeds or another number of images.
    """
    own = next((variant for variant in variants if variant.name == "student"), None)
    if own is None:
        raise DataError(
            f"variants {[variant.name for variant in variants]} hold no `student`; expected it: run the "
            "distill stage again"
        )
    baselines = [variant for variant in variants if variant is not own and not variant.is_checkpoint]
    curve = sorted(
        (variant for variant in variants if variant is own or variant.is_checkpoint),
        key=lambda variant: variant.queries_per_sample,
    )
    scores = {variant.name: _scores(variant, teacher, labels) for variant in variants}
    known = None if labels is None or teacher is None else accuracy(teacher.decisions, labels[teacher.rows])
    asked = 0 if teacher is None else len(teacher.rows)
    return Metrics(
        TeacherMetrics(None if known is None else _rounded(known), **asdict(facts.teacher)),
        StudentMetrics(*scores["student"], **asdict(facts.student), digest=facts.student_digest),
        QueryMetrics(facts.queries_asked, _rounded(facts.queries_per_sample), facts.budget_spent, asked),
        TransferMetrics(facts.transfer_digest),
        {
            variant.name: BaselineMetrics(
                *scores[variant.name], _rounded(variant.queries_per_sample), variant.black_box
            )
            for variant in baselines
        },
        tuple(CurvePoint(_rounded(variant.queries_per_sample), scores[variant.name][0]) for variant in curve),
        len(next(iter(own.decisions.values()))),
        len(own.decisions),
    )


def build_summary(metrics: Metrics) -> Summary:
    """The summary of a run's metrics."""
    measure, student = metrics.measure, metrics.student
    own = getattr(student, measure)
    shown = {
        name: getattr(metrics.baselines[name], measure).mean for name in SHOWN_BASELINES if name in metrics.baselines
    }
    return Summary(
        student.accuracy.mean if student.accuracy else None,
        student.agreement.mean if student.agreement else None,
        own.sd,
        metrics.teacher.accuracy,
        metrics.queries.per_sample,
        metrics.transfer.digest[:12],
        **shown,
    )


def accuracies(variant: VariantDecisions, labels: Labels) -> list[float]:
    """Accuracy of each seed's student, in the order of the seeds."""
    return [accuracy(variant.decisions[seed], labels) for seed in sorted(variant.decisions)]


def agreements(variant: VariantDecisions, teacher: TeacherDecisions) -> list[float]:
    """Agreement of each seed's student with the teacher, in the order of the seeds."""
    return [teacher.agreement(variant.decisions[seed]) for seed in sorted(variant.decisions)]


def _scores(
    variant: VariantDecisions, teacher: TeacherDecisions | None, labels: Labels | None
) -> tuple[Spread | None, Spread | None]:
    """Accuracy and agreement."""
    return (
        None if labels is None else _spread(accuracies(variant, labels)),
        None if teacher is None else _spread(agreements(variant, teacher)),
    )


def _spread(values: list[float]) -> Spread:
    return Spread(**{name: _rounded(value) for name, value in summary(values).items()})


def _rounded(value: int | float) -> float:
    return round(float(value), DECIMALS)


def int8_metrics(
    quantised: Labels, plain: Labels, teacher: TeacherDecisions | None, labels: Labels | None, *, sizes: tuple[int, int]
) -> Int8Metrics:
    """The int8 file beside the float32 one.

    Args:
        quantised: what the int8 file decided on the test split.
        plain: what the float32 file did.
        teacher: its decisions on test images; None: it was not asked.
        labels: of the test images; None: there are none.
        sizes: bytes of the int8 file and of the float32 one.
    """
    right = None if labels is None else round(accuracy(quantised, labels), DECIMALS)
    alike = None if teacher is None else round(teacher.agreement(quantised), DECIMALS)
    return Int8Metrics(right, alike, round(agreement(quantised, plain), DECIMALS), *sizes)
