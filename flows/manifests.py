"""The JSON files that stages write, field by field: each is a dataclass, written and read through it.

docs/pipeline.md is written from these types (`python -m flows.manifest_docs`). A field with a default is left out of
its file where it has that default; every other field always stands there, as null where it is not known. Names that a
reader does not know are passed over.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from db3.errors import DataError, one_line
from db3.evaluation import Metrics, Summary
from db3.files import read_json, write_json
from db3.soft_labels import Recipe
from db3.students.choose import Choice
from db3.students.int8 import Int8Facts
from flows.engine.stage import FOLDERS

Kind = TypeVar("Kind")

EDITION = 3
"""Of the rules by which answers become files: raised when the same parameters and answers give other bytes, so that a
proof can tell a set of other rules from a damaged one. 1 was the first release, whose networks computed in float32."""


@dataclass(frozen=True)
class Environment:
    """The kind of machine that a stage ran on: no part of any versioned file.

    Attributes:
        python: version.
        torch: version.
        torchvision: version.
        numpy: version.
        machine: architecture of the processor.
        device: where networks were trained.
        threads: of torch, of each worker.
        processes: that trained each student together.
        onnx_difference: the largest of a logit between onnxruntime and PyTorch, on this machine.
    """

    python: str
    torch: str
    torchvision: str
    numpy: str
    machine: str
    device: str
    threads: int
    processes: int | None = None
    onnx_difference: float | None = None


@dataclass(frozen=True)
class OnnxFacts:
    """The ONNX file was held against PyTorch.

    Attributes:
        checked: samples compared.
        tolerance: no logit differed by more than this share of the largest one (or of 1, if that is larger).
        digest: of student.onnx.
    """

    checked: int
    tolerance: float
    digest: str


@dataclass(frozen=True)
class DatasetFacts:
    """The dataset that the teacher stage saw.

    Attributes:
        name: of the dataset.
        digest: of its files, size, channels, split and limits.
        train: images of the training split.
        test: images of the test split.
    """

    name: str
    digest: str
    train: int
    test: int


@dataclass(frozen=True)
class TeacherCard:
    """The teacher: who decides.

    Attributes:
        kind: how it came: trained here, a checkpoint, a file, a function or a server.
        architecture: of a network of db3; null of a model from elsewhere.
        input_shape: [C, H, W] of one image.
        bounds: smallest and largest pixel value.
        classes: K.
        class_names: of classes 0, 1, …
        quantise: `uint8` where it is shown pixels rounded to 1/255.
        votes: answers a query at most, of which the majority counts.
        dataset: that its stage saw.
        call_batch: images a call; part of the identity, but of a network in exact arithmetic.
        parameters: null where unknown.
        bytes: of its files; null where unknown.
        multiply_adds: for one image; null where unknown.
        identity: digest of all that decides an answer.
        memory_format: of a call, where `teacher.call_batch` is `auto`.
        arithmetic: of a network of db3, part of the identity; `exact`: the same on every machine, else on this kind.
        model: of a model from elsewhere: `kind`, `preprocessing`, `labels`, `classes_map` and `unclear` where it has
            one, and what its kind needs (`input`, `output`, `file`, `url`, `name`, `version`, `interface`, `metadata`,
            `answer`, `request`, `each`, `model`, `prompt`, `function`, `source`, `command`, `files`); all of it part of
            the identity.
        access: of a remote one: `token` (a variable's NAME), `header`, `scheme`, `input_tokens`, `output_tokens` where
            they are counted.
        unclear: `reject` or `skip`, where answers that are no single class count as the last one.
    """

    kind: str
    architecture: str | None
    input_shape: tuple[int, int, int]
    bounds: tuple[float, float]
    classes: int
    class_names: tuple[str, ...]
    quantise: str
    votes: int
    dataset: DatasetFacts
    call_batch: int
    parameters: int | None
    bytes: int | None
    multiply_adds: int | None
    identity: str
    memory_format: str | None = None
    arithmetic: str | None = None
    model: dict[str, Any] | None = None
    access: dict[str, Any] | None = None
    unclear: str | None = None


@dataclass(frozen=True)
class SampleQueries:
    """What the samples cost.

    Attributes:
        asked: images that the stage wanted decided, those asked again included.
        votes: answers that these took: more where several votes settle one image.
    """

    asked: int
    votes: int


@dataclass(frozen=True)
class FlipRate:
    """How often the teacher decided otherwise when it was asked the very same image again.

    Attributes:
        compared: images asked twice or more.
        changed: those of them whose first two answers differ.
        rate: changed / compared; null where nothing was asked twice.
    """

    compared: int
    changed: int
    rate: float | None


@dataclass(frozen=True)
class Snapshot:
    """A state of the pseudo samples that is pictured.

    Attributes:
        iterations: moves by then.
        queries: asked by then, by all samples and for their start images.
    """

    iterations: int
    queries: int


@dataclass(frozen=True)
class SamplesManifest:
    """The samples.

    Attributes:
        method: `real`, `priors`, `augmented` or `zsdb3`.
        count: how many.
        class_names: of classes 0, 1, …
        decided: of each class by its name, how many samples were decided as it.
        queries: what they cost.
        flips: how constant the teacher was.
        teacher: identity.
        digest: of images and decisions.
        sources: made by rounds: images asked of each source (`real`, `prior`, `variation`).
        proposed: made by rounds: candidates in all, asked or not.
        foretold: made by rounds: share of the last round's decisions that the surrogate had foretold.
        purposes: of `zsdb3`: queries by purpose (`noise`, `source`, `search`, `moves`).
        snapshots: of `zsdb3`: the states in snapshots.npy.
        tried: of `zsdb3`: what was asked for start images, in words.
        skipped: where `teacher.unclear` is skip: images left out, because the teacher gave them no class.
        edition: of the rules by which answers become samples; absent: 1, of the first release.
        arithmetic: made by rounds: of their surrogates; `exact`: the same bytes on every machine, else on this kind.
    """

    method: str
    count: int
    class_names: tuple[str, ...]
    decided: dict[str, int]
    queries: SampleQueries
    flips: FlipRate
    teacher: str
    digest: str
    sources: dict[str, int] | None = None
    proposed: int | None = None
    foretold: float | None = None
    purposes: dict[str, int] | None = None
    snapshots: tuple[Snapshot, ...] | None = None
    tried: str | None = None
    arithmetic: str | None = None
    skipped: int | None = None
    edition: int = 1


@dataclass(frozen=True)
class DecisionsQueries:
    """What the boundary searches cost.

    Attributes:
        asked: images that the searches wanted decided, synthetic queries and variations included.
        votes: answers that these took: more where several votes settle one image.
        synthetic_queries: asked about images that surrogates made before the searches began.
        augmented: asked for the augmented baseline, no part of the others.
        per_sample: votes for each sample.
        per_pair: votes for each pair (sample, other class).
        variations: augmented images for the student, a part of `asked`; absent: none.
    """

    asked: int
    votes: int
    synthetic_queries: int
    augmented: int
    per_sample: float
    per_pair: float
    variations: int = 0


@dataclass(frozen=True)
class DecisionsManifest:
    """The boundary distances.

    Attributes:
        method: of the search, by name; `none` where nothing was searched.
        budget: queries of each pair at most.
        checkpoints: queries of a pair after which distances are kept.
        queries: what it cost.
        flips: how constant the teacher was.
        spent: whether the budget ended searches or the augmented baseline.
        unfinished: pairs that would have asked more.
        unreached: pairs whose class no query was decided as: their distance is infinite.
        points: boundary points kept.
        queried_images: images kept of those asked.
        shard: samples searched in one shard.
        seed: of directions, surrogates and the augmented baseline's images.
        teacher: identity.
        samples: digest of data/samples.
        digest: of all arrays but the augmented baseline's.
        edition: of the rules by which answers become distances; absent: 1, of the first release.
        arithmetic: of the surrogates, where a method has any; `exact`: same bytes on every machine, else on this kind.
        boundary: where the boundaries found lie, as a share of the way to the nearest sample of the other class: half
            of them nearer; absent where none was.
    """

    method: str
    budget: int
    checkpoints: tuple[int, ...]
    queries: DecisionsQueries
    flips: FlipRate
    spent: bool
    unfinished: int
    unreached: int
    points: int
    queried_images: int
    shard: int
    seed: int
    teacher: str
    samples: str
    digest: str
    edition: int = 1
    arithmetic: str | None = None
    boundary: float | None = None


@dataclass(frozen=True)
class TransferSize:
    """Images of a transfer set.

    Attributes:
        images: samples.
        boundary_points: where the recipe takes them.
        queried_images: likewise.
    """

    images: int
    boundary_points: int = 0
    queried_images: int = 0


@dataclass(frozen=True)
class TransferQueries:
    """What samples and boundaries cost together.

    Attributes:
        asked: images that an algorithm wanted decided.
        votes: the answers that these decisions were made of: more where several answers to one image vote.
        per_sample: votes.
    """

    asked: int
    votes: int
    per_sample: float


@dataclass(frozen=True)
class TransferManifest:
    """The transfer set.

    Attributes:
        digest: of all its arrays.
        mapping: of the samples' own labels; `hard`: their bare decisions.
        recipe: what became of the queries, as resolved.
        samples_of: how many images of each kind.
        queries: what it cost.
        spent: whether the budget ended the searches.
        unfinished: pairs that would have asked more.
        class_names: of classes 0, 1, …
        teacher: identity.
        samples: digest of data/samples.
        decisions: digest of data/decisions.
        beta: β as chosen, of the mapping `margin`.
        temperature: τ as chosen, of the mapping `inverse`.
    """

    digest: str
    mapping: Literal["hard", "margin", "inverse"]
    recipe: Recipe
    samples_of: TransferSize
    queries: TransferQueries
    spent: bool
    unfinished: int
    class_names: tuple[str, ...]
    teacher: str
    samples: str
    decisions: str
    beta: float | None = None
    temperature: float | None = None

    @property
    def scale(self) -> float | None:
        """Of the mapping; None of `hard`."""
        return self.temperature if self.beta is None else self.beta


@dataclass(frozen=True)
class StudentCard:
    """The exported student: variant `student`, first seed.

    Attributes:
        architecture: a name that `db3.networks.build` knows.
        input_shape: [C, H, W] of one image.
        classes: K.
        class_names: of classes 0, 1, …
        parameters: weights.
        bytes: of student.safetensors.
        digest: of student.safetensors.
        multiply_adds: for one image.
        transfer: digest of the transfer set.
        teacher: identity.
        onnx: how closely the ONNX file follows PyTorch; null where there is none.
        arithmetic: it was trained in; `exact`: the same bytes on every machine, else on this kind.
        int8: what student.int8.onnx is beside student.onnx; absent where there is none.
    """

    architecture: str
    input_shape: tuple[int, int, int]
    classes: int
    class_names: tuple[str, ...]
    parameters: int
    bytes: int
    digest: str
    multiply_adds: int
    transfer: str
    teacher: str
    onnx: OnnxFacts | None
    arithmetic: str
    int8: Int8Facts | None = None


@dataclass(frozen=True)
class VariantEntry:
    """A variant of the comparison.

    Attributes:
        name: `student`, a baseline's, or `student@Q` for a point of the curve.
        title: what its students learnt from, in words.
        queries_per_sample: that this cost.
        black_box: whether it needs nothing but decisions.
        seeds: of its students.
        steps: of the optimiser.
        files: of its students, below data/student.
        digests: of these files.
    """

    name: str
    title: str
    queries_per_sample: float
    black_box: bool
    seeds: tuple[int, ...]
    steps: int
    files: tuple[str, ...]
    digests: tuple[str, ...]


@dataclass(frozen=True)
class Latency:
    """How long one image takes on this machine now.

    Attributes:
        teacher: milliseconds, median of single-image calls in one thread; null where it is no network of db3.
        student: likewise.
        machine: name of the processor.
        onnx: of student.onnx by onnxruntime, where there is an int8 file to hold beside it.
        int8: of student.int8.onnx, likewise.
    """

    teacher: float | None
    student: float
    machine: str
    onnx: float | None = None
    int8: float | None = None


# Every file by its place below data/. A tuple stands for a list.
FILES: dict[str, Any] = {
    "teacher/teacher.json": TeacherCard,
    "samples/manifest.json": SamplesManifest,
    "decisions/manifest.json": DecisionsManifest,
    "transfer/manifest.json": TransferManifest,
    "student/student.json": StudentCard,
    "student/variants.json": tuple[VariantEntry, ...],
    "student/choice.json": Choice,
    "evaluation/metrics.json": Metrics,
    "evaluation/summary.json": Summary,
    "latency.json": Latency,
    "environment.json": dict[str, Environment],
}


def write_manifest(path: Path, value: object) -> None:
    """Write a dataclass, or a list of them, as JSON."""
    write_json(path, to_json(value))


def to_json(value: Any) -> Any:
    """A value as JSON holds it: a dataclass as an object without the fields that have their defaults."""
    if is_dataclass(value):
        held = {field: getattr(value, field.name) for field in fields(value)}
        return {
            field.name: to_json(inner)
            for field, inner in held.items()
            if field.default is MISSING or inner != field.default
        }
    if isinstance(value, Mapping):
        return {name: to_json(inner) for name, inner in value.items()}
    return [to_json(inner) for inner in value] if isinstance(value, list | tuple) else value


def read_manifest(path: Path, kind: type[Kind]) -> Kind:
    """Read such a file.

    Raises:
        DataError: it is missing or no JSON, or a field is missing or of another type; one line.
    """
    value = read_json(path)
    try:
        return TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except RecursionError:
        raise DataError(f"{path} is nested too deeply: it was not written by db3; restore this file") from None
    except ValidationError as error:
        writer = next((stage for stage, folder in FOLDERS.items() if folder == path.parent.name), "that writes it")
        raise DataError(f"{path}: {misfit(error)}; delete its folder and run the stage {writer} again") from None


def misfit(error: ValidationError) -> str:
    """The first field that is not as its type says, with what is there, in one line."""
    problem = error.errors(include_url=False)[0]
    name = one_line(".".join(map(str, problem["loc"])) or "the whole", 60)
    if problem["type"] == "missing":
        return f"{name} is missing"
    return f"{name} is {_short(problem['input'])}: {one_line(problem['msg'])}"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:39] + "…"
