"""Every parameter of the pipeline, with its type, its range and its meaning.

`params.yaml` is composed from conf/ and read here; unknown names, wrong types and values out of range are refused
with the nearest name that exists. YAML never imports code: a value is a number, a word or a list.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from db3.errors import ConfigError

ARMS = ("hard", "smoothing", "noise", "inverse", "margin", "augmented", "kd")
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Arm = Literal["hard", "smoothing", "noise", "inverse", "margin", "augmented", "kd"]


class Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())


class Dataset(Group):
    """Where the images come from and how they are split."""

    name: Literal["digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "flowers102", "image_folder"]
    root: str | None = Field(None, description="folder of the files; null: DB3_DATA_ROOT, else ~/.cache/db3/datasets")
    download: bool = Field(True, description="fetch missing files (never those already there)")
    size: int | None = Field(None, ge=8, le=1024, description="height and width; null: the dataset's own")
    channels: Literal[1, 3] | None = Field(None, description="null: the dataset's own")
    test_fraction: float = Field(0.2, gt=0, lt=1, description="held out where a dataset has no test split of its own")
    train_limit: int | None = Field(None, ge=2, description="use this many training images, drawn at random")
    test_limit: int | None = Field(None, ge=1, description="use this many test images, drawn at random")
    seed: int = Field(0, ge=0, description="of the split and of the limits")


class Teacher(Group):
    """Who decides."""

    kind: Literal["train", "checkpoint"]
    architecture: str = Field(description="a name that db3.networks.build knows")
    checkpoint: str | None = Field(None, description="kind checkpoint: a .safetensors file, or .pth with a state_dict")
    classes: int | None = Field(None, ge=2, description="null: the dataset's; needed where images have no labels")
    mean: list[float] | None = Field(None, description="of a checkpoint's training pixels; null: the file's own, or 0")
    std: list[float] | None = Field(None, description="of a checkpoint's training pixels; null: the file's own, or 1")
    call_batch: int = Field(256, ge=1, le=65536, description="rows of the one call shape; part of the identity")
    quantise: Literal["none", "uint8"] = Field("none", description="uint8: the teacher sees pixels rounded to 1/255")
    votes: int = Field(1, ge=1, le=1001, description="answers a query at most, of which the majority counts")
    steps: int = Field(1000, ge=1, description="kind train: optimiser steps")
    batch: int = Field(128, ge=1)
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    augment: Literal["none", "warp", "crop_flip"] = "none"
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _checkpoint_is_named(self) -> "Teacher":
        if self.kind == "checkpoint" and not self.checkpoint:
            raise ValueError("kind: checkpoint needs `checkpoint`, the path of a .safetensors or .pth file")
        return self


class Samples(Group):
    """The images of the transfer set."""

    method: Literal["real"]
    count: int | None = Field(None, ge=2, description="samples drawn from the training split; null: all")
    missing_classes: Literal["error", "allow"] = Field("error", description="when the teacher never decides a class")
    recheck: int = Field(0, ge=0, description="samples asked a second time, to measure how often the teacher flips")
    seed: int = Field(0, ge=0)


class Primer(Group):
    """Networks trained on decisions already paid for; their gradients guide the search (methods guided, auto)."""

    architecture: str = Field("auto", description="a name that db3.networks.build knows; auto: by the images' shape")
    networks: int = Field(3, ge=1, le=64, description="averaged; two or more see where they may be wrong")
    steps: int = Field(600, ge=1, description="optimiser steps of the first training")
    retrain: int = Field(300, ge=1, description="steps of every later one")
    scouts: float = Field(1.5, ge=0, le=1000, description="queries per sample on images that primers make first")


class Query(Group):
    """How decisions become boundary distances."""

    method: Literal["sd", "bd", "mbd", "hopskipjump", "semicircle", "guided", "auto"]
    budget: int = Field(100, ge=0, description="queries per pair (sample, other class)")
    starts: int = Field(1, ge=1, description="Q: start samples of the other class, nearest first")
    tolerance: float = Field(0.01, gt=0, lt=1, description="bisection ends at this share of the distance found")
    absolute: float = Field(0.0, ge=0, description="or at this distance in pixels of [0, 1], whichever comes first")
    directions: int = Field(20, ge=1, description="random directions per estimate (mbd, hopskipjump, semicircle)")
    smoothing: float = Field(0.1, gt=0, description="probing radius, as a share of the distance")
    cell: int = Field(1, ge=1, description="random directions are constant over cells of this many pixels a side")
    step: float = Field(0.2, gt=0, description="mbd: first step size along the estimated gradient")
    primer: Primer
    points: int = Field(9, ge=0, description="boundary points kept of each sample, nearest classes first")
    answered: int = Field(150, ge=0, description="images asked that are kept of each sample, with their decisions")
    checkpoints: list[Annotated[int, Field(ge=1)]] = Field(
        default_factory=list, description="queries per pair at which distances are kept"
    )
    augmented: Count | Literal["same"] = Field("same", description="queries of the augmented baseline; 0: none")
    shard: int = Field(50, ge=1, description="samples a shard; part of no result, only of the resume")
    seed: int = Field(0, ge=0)


class SoftLabels(Group):
    """How boundary searches become a transfer set; `auto` takes what measured best for such a search."""

    mapping: Literal["margin", "inverse", "hard", "auto"]
    gap: Positive | Literal["auto"] = Field("auto", description="mean log-odds between the decision and another class")
    beta: Positive | Literal["auto"] = Field("auto", description="margin: p = softmax(-beta d); auto: from gap")
    temperature: Positive | Literal["auto"] = Field("auto", description="inverse: p = softmax(z / temperature)")
    ties: Share | Literal["auto"] = Field("auto", description="share of each batch: boundary points, half m, half k")
    ties_smoothing: Share | Literal["auto"] = Field("auto", description="of the ties' labels, spread over all classes")
    answered: Share | Literal["auto"] = Field("auto", description="share of each batch: images asked, as decided")


class Weights(Group):
    ce: float = Field(ge=0, description="of the cross-entropy with the decision")
    kl: float = Field(ge=0, description="of KL(soft label || student)")

    @model_validator(mode="after")
    def _one_is_positive(self) -> "Weights":
        if self.ce + self.kl <= 0:
            raise ValueError("ce and kl are both 0, so nothing would be learnt: give one a positive weight")
        return self


class Distill(Group):
    """How the student learns from the transfer set."""

    architecture: str
    steps: int = Field(ge=1, description="optimiser steps, the same for the student and every baseline")
    batch: int = Field(128, ge=1)
    lr: float = Field(gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    temperature: Positive | Literal["auto"] = Field("auto", description="student's inside the KL; auto: the recipe's")
    weights: Weights
    warmup: int = Field(50, ge=0, description="steps of linear warm-up, then a cosine to zero")
    select: Literal["last", "best"] = Field("last", description="best: by agreement on a held-out part")
    holdout: float = Field(0.1, gt=0, lt=1, description="select best: share of the transfer set kept aside")
    baselines: list[Arm] = Field(default_factory=list)
    label_smoothing: float = Field(0.1, gt=0, lt=1, description="baseline smoothing: mass spread over all classes")
    noise: float = Field(1.0, gt=0, description="baseline noise: standard deviation of the random logits")
    kd_temperature: float = Field(8.0, gt=0, description="baseline kd: temperature of teacher and student")
    curve: bool = Field(True, description="also distil from the distances at query.checkpoints")
    onnx: bool = Field(True, description="export the student to ONNX too")


class Evaluate(Group):
    """What is measured, and how often."""

    seeds: int = Field(3, ge=1, le=100, description="students per arm; accuracy is mean and sd over them")
    batch: int = Field(256, ge=1)
    latency_runs: int = Field(30, ge=0, description="timed calls of one image; kept outside the versioned metrics")


class Runtime(Group):
    """How the work is carried out; decides no result."""

    runner: Literal["local", "threads", "dask", "ray"]
    workers: int = Field(1, ge=1, le=256, description="shards computed at once; 1 where the runner is local")
    address: str | None = Field(None, description="of a Dask or Ray cluster; null: workers of this machine")
    threads: int = Field(1, ge=1, le=256, description="torch threads of each worker")
    device: str = Field("cpu", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")


class Config(Group):
    """The whole of params.yaml."""

    dataset: Dataset
    teacher: Teacher
    samples: Samples
    query: Query
    soft_labels: SoftLabels
    distill: Distill
    evaluate: Evaluate
    runtime: Runtime


def load_config(path: Path = Path("params.yaml")) -> Config:
    """Read and validate params.yaml.

    Raises:
        ConfigError: one line that names the first wrong parameter, its value and what was expected.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; run in the project's root") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    return parse_config(values, str(path))


def parse_config(values: Any, source: str = "parameters") -> Config:
    """Validate parameters given as nested dictionaries; `source` is named in errors."""
    if not isinstance(values, dict):
        raise ConfigError(f"{source} holds {type(values).__name__}; expected a mapping of parameter groups")
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    """The first problem in one line; unknown names come first, since a misspelling also leaves a gap."""
    problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    problem = problems[0]
    path = [str(part) for part in problem["loc"] if not _is_union_branch(str(part))]
    name = ".".join(path)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if problem["type"] == "extra_forbidden":
        known = _names_at(path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {'.'.join([*path[:-1], near[0]])}?" if near else f"known here: {', '.join(known)}"
        return f"unknown parameter {name}; {hint}{more}"
    if problem["type"] == "missing":
        return f"parameter {name} is missing; compose it with `python -m flows.compose`{more}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return f"{name}: {message}{more}"
    return f"{name} is {problem['input']!r}; {message[0].lower()}{message[1:]}{more}"


def _is_union_branch(part: str) -> bool:
    """Pydantic puts the branch of a union it tried into the location, e.g. `int` or `literal['same']`."""
    return part in {"int", "float", "str"} or part.startswith("literal[")


def _names_at(path: list[str]) -> list[str]:
    model: Any = Config
    for part in path:
        model = model.model_fields[part].annotation
    return sorted(model.model_fields)
