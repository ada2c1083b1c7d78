"""Every parameter of the pipeline, with its type, its range and its meaning.

`params.yaml` is composed from conf/ and read here; unknown names, wrong types and values out of range are refused
with the nearest name that exists. YAML never imports code: a value is a number, a word or a list.
"""

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from db3.errors import ConfigError

VARIANTS = ("hard", "smoothing", "noise", "inverse", "margin", "augmented", "kd")
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Portion = Annotated[float, Field(ge=0, le=1)]
Calls = Annotated[int, Field(ge=1, le=65536)]
Variant = Literal["hard", "smoothing", "noise", "inverse", "margin", "augmented", "kd"]


if TYPE_CHECKING:
    from db3.teachers.adapters.http_settings import Link


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


class Http(Group):
    """Where a remote teacher answers, and how it is asked (kinds http and http_image)."""

    url: str | None = Field(None, description="of the server, http(s)://HOST[:PORT][/PATH]; http_image: the whole one")
    model: str | None = Field(None, description="http: the model's name on the server")
    token: str | None = Field(None, description="NAME of the environment variable that holds the token; never itself")
    header: str = Field("Authorization", pattern=r"^[A-Za-z0-9-]+$", description="that carries the token")
    scheme: str = Field("Bearer", pattern=r"^[A-Za-z0-9-]*$", description="word before the token; empty: none")
    format: Literal["png", "jpeg"] = Field("png", description="http_image: of the picture sent")
    body: Literal["raw", "multipart", "json"] = Field("raw", description="http_image: json: base64 below `field`")
    field: str = Field("image", min_length=1, description="http_image: name of the form's or the JSON's field")
    answer: str | None = Field(None, description="http_image: JMESPath of the class in the answer, as predictions[0]")

    @field_validator("url")
    @classmethod
    def _url_holds_no_secret(cls, url: str | None) -> str | None:
        """Messages leave the value out: it may hold what it must not."""
        parts = urlsplit(url or "http://host")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected http(s)://HOST[:PORT][/PATH]: correct the address")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "expected no user, password or query in the address: name a token's variable in http.token"
            )
        return url.rstrip("/") if url else None

    @field_validator("token")
    @classmethod
    def _token_is_a_name(cls, token: str | None) -> str | None:
        if token is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", token):
            raise ValueError(
                "expected the NAME of an environment variable, in capitals; the token itself never goes here"
            )
        return token


class Link(Group):
    """How a remote teacher is reached; decides no answer."""

    concurrency: int = Field(4, ge=1, le=256, description="requests in flight, of this process")
    per_second: Positive | None = Field(None, description="requests begun a second at most; null: no limit")
    timeout: float = Field(30.0, gt=0, description="seconds until a request must be answered in full")
    attempts: int = Field(5, ge=1, le=100, description="for each request; each of them may be billed")
    patience: float = Field(300.0, gt=0, description="longest Retry-After that is waited for, in seconds")
    encoding: Literal["auto", "json", "binary"] = Field("auto", description="auto: binary where the server offers it")
    compress: bool = Field(False, description="gzip requests too; answers may always come compressed")


class Teacher(Group):
    """Who decides."""

    kind: Literal["train", "checkpoint", "exported", "onnx", "http", "http_image", "callable"]
    architecture: str | None = Field(None, description="train, checkpoint: a name that db3.networks.build knows")
    checkpoint: str | None = Field(None, description="path: .safetensors or .pth; exported: .pt2 or .pt; onnx: .onnx")
    function: str | None = Field(
        None, pattern=r"^[\w.]+:[\w.]+$", description="callable: package.module:function, images to classes"
    )
    version: str | None = Field(None, description="http: to ask for; http_image, callable: what you call its state")
    http: Http
    link: Link
    classes: int | None = Field(None, ge=2, description="null: the dataset's; needed where images have no labels")
    labels: list[str] | None = Field(None, description="the model's names of classes 0, 1, …; null: the dataset's")
    input: str | None = Field(None, description="onnx, http: name; null: the only one")
    output: str | None = Field(None, description="onnx, http: name; null: the only one")
    mean: list[float] | None = Field(
        None, description="of the model's training pixels in [0, 1]; null: the file's, or 0"
    )
    std: list[Positive] | None = Field(None, description="likewise; null: the file's, or 1")
    scale: float = Field(1.0, gt=0, description="pixels times this, after mean and std; 255: the model sees 0 … 255")
    resize: list[Annotated[int, Field(ge=1, le=4096)]] | None = Field(
        None, min_length=2, max_length=2, description="[height, width] that the model sees; null: the dataset's"
    )
    layout: Literal["NCHW", "NHWC"] = Field("NCHW", description="order of the axes that the model sees")
    dtype: Literal["float32", "float16", "float64", "uint8"] = Field("float32", description="that the model sees")
    call_batch: Calls | Literal["auto"] = Field(
        256, description="images a call or request; the network's is its identity; auto: what is fastest here, once"
    )
    quantise: Literal["none", "uint8"] = Field("none", description="uint8: the teacher sees pixels rounded to 1/255")
    votes: int = Field(1, ge=1, le=1001, description="answers a query at most, of which the majority counts")
    steps: int = Field(1000, ge=1, description="kind train: optimiser steps")
    batch: int = Field(128, ge=1)
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    augment: Literal["none", "warp", "crop_flip"] = "none"
    seed: int = Field(0, ge=0)

    @field_validator("version", mode="before")
    @classmethod
    def _version_may_be_a_number(cls, version: object) -> object:
        """`teacher.version=2` is an integer to YAML; of 1.10 it has lost a digit already."""
        if isinstance(version, float):
            raise ValueError("expected text: write it in quotes, teacher.version='\"1.10\"'")
        return str(version) if isinstance(version, int) and not isinstance(version, bool) else version

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> "Teacher":
        needed = {
            "train": {"architecture": self.architecture},
            "checkpoint": {"architecture": self.architecture, "checkpoint": self.checkpoint},
            "exported": {"checkpoint": self.checkpoint},
            "onnx": {"checkpoint": self.checkpoint},
            "http": {"http.url": self.http.url, "http.model": self.http.model},
            "http_image": {"http.url": self.http.url, "http.answer": self.http.answer},
            "callable": {"function": self.function},
        }[self.kind]
        for name, value in needed.items():
            if not value:
                raise ValueError(f"teacher.{name} has no value; kind {self.kind} needs it: give it one")
        return self

    @model_validator(mode="after")
    def _pixels_fit_the_kind(self) -> "Teacher":
        plain = (self.scale, self.resize, self.layout, self.dtype) == (1.0, None, "NCHW", "float32")
        if self.kind in ("train", "checkpoint") and not plain:
            raise ValueError(f"kind: {self.kind} takes mean and std only: leave scale, resize, layout and dtype out")
        if self.dtype == "uint8" and (self.mean or self.std or self.scale != 255.0):
            raise ValueError("dtype: uint8 shows the model pixels 0 … 255: set scale to 255, mean and std to null")
        if (self.dtype == "uint8" or self.kind == "http_image") and self.quantise != "uint8":
            raise ValueError("a model that is shown uint8 pixels needs quantise: uint8, so that searches know it")
        if self.kind == "http_image" and (self.mean or self.std or self.layout != "NCHW"):
            raise ValueError("kind: http_image sends pictures: set mean and std to null and leave layout out")
        return self


class Rounds(Group):
    """How made samples are chosen, round by round (methods priors, augmented); see db3.zero_shot.rounds."""

    first: float = Field(0.15, gt=0, le=1, description="share of the budget asked before a surrogate is trained")
    count: int = Field(10, ge=1, description="rounds that share the rest")
    pool: int = Field(6, ge=1, description="images proposed for each one asked")
    fresh: Portion | Literal["auto"] = Field(
        "auto", description="share of a round that are prior images; the rest: variations; auto: by the real images"
    )
    architecture: str = Field("auto", description="of the surrogate; auto: by the images' shape")
    steps: int = Field(150, ge=1, description="the surrogate's optimiser steps a round")


class Zsdb3(Group):
    """How pseudo samples are made of noise (method zsdb3); see db3.zero_shot.zsdb3."""

    iterations: int = Field(40, ge=1, description="moves away from the boundary")
    queries: int | None = Field(None, ge=1, description="of each boundary search at most; null: what the budget allows")
    step: float = Field(0.5, gt=0, description="L2 length of a move, pixels in [0, 1]")
    every: int = Field(10, ge=1, description="iterations from one picture in the report to the next")
    priors: bool = Field(True, description="look for classes that noise does not reach among prior images")


class Samples(Group):
    """The images of the transfer set: real ones, or ones that are made (priors: without any data)."""

    method: Literal["real", "priors", "augmented", "zsdb3"]
    count: int | None = Field(None, ge=2, description="images drawn from the training split; null: all; priors: none")
    budget: int | None = Field(None, ge=2, description="queries of samples that are made; null: method real")
    rounds: Rounds
    zsdb3: Zsdb3
    missing_classes: Literal["error", "allow"] = Field("error", description="when the teacher never decides a class")
    recheck: int = Field(0, ge=0, description="samples asked a second time, to measure how often the teacher flips")
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _made_samples_have_a_budget(self) -> "Samples":
        if self.method != "real" and self.budget is None:
            raise ValueError(f"method: {self.method} needs `budget`, the number of queries that samples may cost")
        if self.method == "zsdb3" and self.count is None:
            raise ValueError("method: zsdb3 needs `count`, the number of pseudo samples")
        return self


class Surrogate(Group):
    """Networks trained on decisions already paid for; their gradients guide the search (methods guided, auto)."""

    architecture: str = Field("auto", description="a name that db3.networks.build knows; auto: by the images' shape")
    networks: int = Field(3, ge=1, le=64, description="averaged; two or more see where they may be wrong")
    steps: int = Field(600, ge=1, description="optimiser steps of the first training")
    retrain: int = Field(300, ge=1, description="steps of every later one")
    synthetic_queries: float = Field(
        1.5, ge=0, le=1000, description="queries per sample on images that surrogates make first"
    )


class Query(Group):
    """How decisions become boundary distances."""

    method: Literal["none", "sd", "bd", "mbd", "hopskipjump", "semicircle", "guided", "auto"]
    budget: int = Field(100, ge=0, description="queries per pair (sample, other class)")
    starts: int = Field(1, ge=1, description="Q: start samples of the other class, nearest first")
    tolerance: float = Field(0.01, gt=0, lt=1, description="bisection ends at this share of the distance found")
    absolute: float = Field(0.0, ge=0, description="or at this distance in pixels of [0, 1], whichever comes first")
    directions: int = Field(20, ge=1, description="random directions per estimate (mbd, hopskipjump, semicircle)")
    smoothing: float = Field(0.1, gt=0, description="probing radius, as a share of the distance")
    cell: int = Field(1, ge=1, description="random directions are constant over cells of this many pixels a side")
    step: float = Field(0.2, gt=0, description="mbd: first step size along the estimated gradient")
    surrogate: Surrogate
    points: int = Field(9, ge=0, description="boundary points kept of each sample, nearest classes first")
    queried_images: int = Field(
        150, ge=0, description="images asked that are kept of each sample, with their decisions"
    )
    checkpoints: list[Annotated[int, Field(ge=1)]] = Field(
        default_factory=list, description="queries per pair at which distances are kept"
    )
    augmented: Count | Literal["same"] = Field("same", description="queries of the augmented baseline; 0: none")
    shard: int = Field(50, ge=1, description="samples a shard; part of no result, only of the resume")
    seed: int = Field(0, ge=0)


class Budget(Group):
    """What asking the teacher may cost: the images of the samples and of every search, and each attempt to send one."""

    total: int | None = Field(None, ge=1, description="images paid at most, samples and searches together; null: any")
    price_per_1000: float | None = Field(None, ge=0, description="of 1,000 images, for the estimate; decides nothing")


class SoftLabels(Group):
    """How boundary searches become a transfer set; `auto` takes what measured best for such a search."""

    mapping: Literal["margin", "inverse", "hard", "auto"]
    gap: Positive | Literal["auto"] = Field("auto", description="mean log-odds between the decision and another class")
    beta: Positive | Literal["auto"] = Field("auto", description="margin: p = softmax(-beta d); auto: from gap")
    temperature: Positive | Literal["auto"] = Field("auto", description="inverse: p = softmax(z / temperature)")
    boundary_points: Share | Literal["auto"] = Field(
        "auto", description="share of each batch: boundary points, half m, half k"
    )
    boundary_points_smoothing: Share | Literal["auto"] = Field(
        "auto", description="of the boundary points' labels, spread over all classes"
    )
    queried_images: Share | Literal["auto"] = Field("auto", description="share of each batch: images asked, as decided")


class Weights(Group):
    ce: float = Field(ge=0, description="of the cross-entropy with the decision")
    kl: float = Field(ge=0, description="of KL(soft label || student)")

    @model_validator(mode="after")
    def _one_is_positive(self) -> "Weights":
        if self.ce + self.kl <= 0:
            raise ValueError("ce and kl are both 0, so nothing would be learnt: give one a positive weight")
        return self


class Assistants(Group):
    """Larger networks that learn the same decisions and label images nobody was asked about: free of queries."""

    networks: int = Field(0, ge=0, le=16, description="averaged; 0: no teacher assistants")
    architecture: str = Field("auto", description="a name that db3.networks.build knows; auto: by the images' shape")
    steps: int = Field(2000, ge=1, description="optimiser steps of each")
    images: int = Field(100_000, ge=1, description="that they label: prior images, and variations of the decided ones")
    fresh: float = Field(0.3333, ge=0, le=1, description="share of these that are prior images")
    share: Share = Field(0.75, description="of each of the student's batches")


class Distill(Group):
    """How the student learns from the transfer set."""

    architecture: str
    steps: int = Field(ge=1, description="optimiser steps, the same for the student and every baseline")
    batch: int = Field(128, ge=1)
    lr: float = Field(gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    temperature: Positive | Literal["auto"] = Field("auto", description="student's inside the KL; auto: the recipe's")
    weights: Weights
    assistants: Assistants
    warmup: int = Field(50, ge=0, description="steps of linear warm-up, then a cosine to zero")
    balance: float = Field(0.0, ge=0, le=1, description="samples are drawn as (count of their class)^-balance")
    select: Literal["last", "best"] = Field("last", description="best: by agreement on a held-out part")
    holdout: float = Field(0.1, gt=0, lt=1, description="select best: share of the transfer set kept aside")
    baselines: list[Variant] = Field(default_factory=list)
    label_smoothing: float = Field(0.1, gt=0, lt=1, description="baseline smoothing: mass spread over all classes")
    noise: float = Field(1.0, gt=0, description="baseline noise: standard deviation of the random logits")
    kd_temperature: float = Field(8.0, gt=0, description="baseline kd: temperature of teacher and student")
    curve: bool = Field(True, description="also distil from the distances at query.checkpoints")
    onnx: bool = Field(True, description="export the student to ONNX too")


class Evaluate(Group):
    """What is measured, and how often."""

    seeds: int = Field(3, ge=1, le=100, description="students per variant; accuracy is mean and sd over them")
    batch: int = Field(256, ge=1)
    latency_runs: int = Field(30, ge=0, description="timed calls of one image; kept outside the versioned metrics")


class Runtime(Group):
    """How the work is carried out; decides no result."""

    runner: Literal["local", "threads", "dask", "ray"]
    workers: int = Field(1, ge=1, le=256, description="shards computed at once; 1 where the runner is local")
    address: str | None = Field(None, description="of a Dask or Ray cluster; null: workers of this machine")
    threads: int = Field(1, ge=1, le=256, description="torch threads of each worker")
    processes: int = Field(1, ge=1, le=64, description="that share each batch of a student's training")
    device: str = Field("cpu", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")


class Config(Group):
    """The whole of params.yaml."""

    dataset: Dataset
    teacher: Teacher
    samples: Samples
    query: Query
    budget: Budget
    soft_labels: SoftLabels
    distill: Distill
    evaluate: Evaluate
    runtime: Runtime


def device_of(config: Config) -> str:
    """The device named by runtime.device; `auto` takes a GPU where there is one."""
    import torch

    if config.runtime.device != "auto":
        return config.runtime.device
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def link_of(config: Config) -> "Link":
    """How a remote teacher is reached, as the group `teacher.link` says."""
    from db3.teachers.adapters.http_settings import Link

    return Link(**config.teacher.link.model_dump())


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
