"""Every parameter of the pipeline: the library's settings by group, and what belongs to the pipeline alone.

`params.yaml` is composed from conf/ and read here; unknown names, wrong types and values out of range are refused
with the nearest name that exists. YAML never imports code: a value is a number, a word or a list. Whatever decides no
byte of a result stands under `runtime`, so that dvc.yaml can name whole groups.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from db3.errors import ConfigError
from db3.settings.dataset import DatasetSettings
from db3.settings.declare import Doc, Ge, Le, Matches, build, settings
from db3.settings.samples import SampleSettings
from db3.settings.search import Query
from db3.settings.soft_labels import SoftLabelSettings, require_distances
from db3.settings.teacher import Link, Price, TeacherSettings
from db3.settings.training import DistillSettings
from flows.yaml_files import read_yaml


@settings
class Budget:
    """What asking the teacher may cost: the images of the samples and of every search, and each attempt to send one."""

    total: Annotated[
        Annotated[int, Ge(1)] | None, Doc("images paid at most, samples and searches together; null: any")
    ] = None


@settings
class Evaluate:
    """What is measured, and how often."""

    seeds: Annotated[int, Ge(1), Le(100), Doc("students per variant; accuracy is mean and sd over them")] = 3
    batch: Annotated[int, Ge(1), Doc("images a call when students are measured")] = 256
    questions: Annotated[
        Annotated[int, Ge(2)] | None,
        Doc("test images, drawn at random, that the teacher is asked about; null: all of them"),
    ] = None


@settings
class Runtime:
    """How and where the work is carried out; decides no result in exact arithmetic."""

    runner: Annotated[Literal["local", "threads", "dask", "ray"], Doc("who computes shards")] = "threads"
    workers: Annotated[int, Ge(1), Le(256), Doc("shards computed at once; 1 where the runner is local")] = 2
    address: Annotated[str | None, Doc("of a Dask or Ray cluster; null: workers of this machine")] = None
    threads: Annotated[int, Ge(1), Le(256), Doc("torch threads of each worker")] = 1
    processes: Annotated[int, Ge(1), Le(64), Doc("that share each batch of a student's training")] = 1
    device: Annotated[
        Annotated[str, Matches(r"auto|cpu|cuda(:\d+)?|mps", "auto, cpu, cuda, cuda:N or mps")],
        Doc("where networks compute; auto: a GPU where there is one"),
    ] = "cpu"
    shard: Annotated[int, Ge(1), Doc("samples a shard of the search: what a kill may lose")] = 50
    data_root: Annotated[
        str | None, Doc("folder of the dataset's files; null: DB3_DATA_ROOT, else ~/.cache/db3/datasets")
    ] = None
    download: Annotated[bool, Doc("fetch missing files of the dataset (never those already there)")] = True
    price: Price = Price()
    latency_runs: Annotated[int, Ge(0), Doc("timed calls of one image; kept outside the versioned metrics")] = 30
    answers: Annotated[
        Annotated[str, Matches(r"\S(.*\S)?", "auto, off, a path, or an address DIALECT://USER@HOST/DATABASE")],
        Doc("where answers are kept; auto: .db3/answers.sqlite, but for db3's own networks without a budget"),
    ] = "auto"
    sinks: Annotated[
        tuple[
            Annotated[
                str,
                Matches(r"(mlflow|tensorboard|dvclive)(:\S+)?", "mlflow, tensorboard or dvclive, or KIND:PLACE"),
            ],
            ...,
        ],
        Doc("trackers that are told of each run when it is measured; none is needed"),
    ] = ()
    link: Link = Link()


@settings
class Config:
    """The whole of params.yaml."""

    dataset: DatasetSettings = DatasetSettings()
    teacher: TeacherSettings = TeacherSettings()
    samples: SampleSettings = SampleSettings()
    query: Query = Query()
    budget: Budget = Budget()
    soft_labels: SoftLabelSettings = SoftLabelSettings()
    distill: DistillSettings = DistillSettings()
    evaluate: Evaluate = Evaluate()
    runtime: Runtime = Runtime()

    def rules(self) -> None:
        """A budget has to know what earlier runs have sent; labels of distances need a search."""
        require_distances(self.soft_labels, self.query.searches(self.samples.method))
        if self.runtime.answers == "off" and self.budget.total is not None:
            raise ConfigError(
                "runtime.answers is off, but budget.total counts what all runs have sent, which the store of answers "
                "knows: set runtime.answers=auto, or no budget.total"
            )


def answers_of(config: Config) -> str | None:
    """Where the answers are kept: an absolute path or an address; None: nowhere.

    Networks of db3's own answer faster than they are looked up; a budget has to know what was sent all the same.
    """
    from db3.teachers.answers.place import resolve_place

    answers, own = config.runtime.answers, config.teacher.kind in ("train", "checkpoint")
    if answers == "off" or (answers == "auto" and own and config.budget.total is None):
        return None
    return resolve_place(answers, Path.cwd())


def device_of(config: Config) -> str:
    """The device named by runtime.device; `auto` takes a GPU where there is one."""
    import torch

    if config.runtime.device != "auto":
        return config.runtime.device
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def describe(config: Config) -> str:
    """What a run is about, in a few words."""
    teacher, samples, query = config.teacher, config.samples, config.query
    who = teacher.architecture if teacher.kind in ("train", "checkpoint") else teacher.kind
    what = "samples" if samples.method == "real" else samples.method
    return f"{config.dataset.name}, {who}, {samples.count} {what}, {query.method} {query.budget}"


def load_config(path: Path = Path("params.yaml")) -> Config:
    """Read and validate params.yaml.

    Raises:
        ConfigError: one line that names the first wrong parameter, its value and what was expected.
    """
    return parse_config(read_yaml(path), str(path))


def parse_config(values: Any, source: str = "parameters") -> Config:
    """Validate parameters given as nested dictionaries, which hold each of them; `source` is named in errors."""
    if not isinstance(values, dict):
        raise ConfigError(f"{source} holds {type(values).__name__}; expected a mapping of parameter groups")
    try:
        return build(Config, values, complete=True)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
