"""The JSON files that stages write, field by field: each is a dataclass, written and read through it.

A field with a default is left out of its file where it has that default; every other field always stands there, as
null where it is not known. Names that a reader does not know are passed over.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from db3.errors import DataError
from db3.files import read_json, write_json
from flows.engine.stage import FOLDERS

Kind = TypeVar("Kind")


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
        decided: of each class by its name, how many samples were decided as it.
        queries: what they cost.
        flips: how constant the teacher was.
        teacher: identity.
        digest: of images and decisions.
        sources: made by rounds: images asked of each source (`real`, `prior`, `variation`).
        proposed: made by rounds: candidates in all, asked or not.
        purposes: of `zsdb3`: queries by purpose (`noise`, `source`, `search`, `moves`).
        snapshots: of `zsdb3`: the states in snapshots.npy.
        tried: of `zsdb3`: what was asked for start images, in words.
    """

    method: str
    count: int
    decided: dict[str, int]
    queries: SampleQueries
    flips: FlipRate
    teacher: str
    digest: str
    sources: dict[str, int] | None = None
    proposed: int | None = None
    purposes: dict[str, int] | None = None
    snapshots: tuple[Snapshot, ...] | None = None
    tried: str | None = None


@dataclass(frozen=True)
class DecisionsQueries:
    """What the boundary searches cost.

    Attributes:
        asked: images that the searches wanted decided, synthetic queries included.
        votes: answers that these took: more where several votes settle one image.
        synthetic_queries: asked about images that surrogates made before the searches began.
        augmented: asked for the augmented baseline, no part of the others.
        per_sample: votes for each sample.
        per_pair: votes for each pair (sample, other class).
    """

    asked: int
    votes: int
    synthetic_queries: int
    augmented: int
    per_sample: float
    per_pair: float


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


# Every file by its place below data/. A tuple stands for a list.
FILES: dict[str, Any] = {
    "samples/manifest.json": SamplesManifest,
    "decisions/manifest.json": DecisionsManifest,
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
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in problem["loc"]) or "the whole"
        told = "is missing" if problem["type"] == "missing" else f"is {_short(problem['input'])}: {problem['msg']}"
        writer = next((stage for stage, folder in FOLDERS.items() if folder == path.parent.name), "that writes it")
        raise DataError(f"{path}: {name} {told}; delete its folder and run the stage {writer} again") from None


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:39] + "…"
