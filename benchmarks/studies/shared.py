"""What the studies share: teacher, samples, search, variants, students, and a table of means over seeds.

Everything is the library's own path. Trainings compute in float32: figures are those of one kind of machine. There is
one teacher and one draw of samples; ± is over the students' seeds, none of which is left out. No choice is made on the
test split: it is read for the table alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from torch import nn

from benchmarks.local_teacher import KEPT, trained_network
from db3.datasets import Dataset, Part, open_dataset
from db3.datasets.subset import draw_samples
from db3.errors import ConfigError
from db3.evaluation import accuracy, agreement, summary
from db3.images.augmented import decide_augmented
from db3.rng import Purpose, permutation
from db3.search import SearchSettings, TransferImages, search_distances
from db3.soft_labels import BoundaryPoints, QueriedImages, SearchedSamples, build_transfer_set, recipe
from db3.students import StudentSettings, TrainedStudent, VariantSettings, VariantSources, build_variants
from db3.students.train import train_variants
from db3.students.variants import Variant
from db3.teachers import Batching, NetworkTeacher, Teacher, TeacherSpec
from db3.teachers.adapters.quantised import Quantised
from db3.teachers.base import ImageShape
from db3.teachers.decide import decide_all
from db3.training.train import TrainSettings

Row = dict[str, Any]
CALL = 256
_WARMUP = 50


@dataclass(frozen=True)
class Setting:
    """How large a study is.

    Attributes:
        dataset: a name that `open_dataset` knows; 28×28 pixels and one channel are taken of it.
        root: folder of the datasets' files, and of the foreign teacher of `transfer`; None: DB3_DATA_ROOT.
        teachers: folder where trained teachers are kept for the next study.
        samples: images that are searched.
        queries: of a boundary search, per pair.
        teacher_steps: optimiser steps of a local teacher.
        steps: optimiser steps of every student.
        batch: images a step, of every student.
        seeds: students of each variant.
        tested: test images; None: all.
        measured: images whose distance to the boundary is measured.
        kinds: variants, comma-separated; empty: the study's own.

    Raises:
        ConfigError: a number below 1.
    """

    dataset: str = "mnist"
    root: Path | None = None
    teachers: Path = KEPT
    samples: int = 500
    queries: int = 7
    teacher_steps: int = 1000
    steps: int = 400
    batch: int = 64
    seeds: int = 3
    tested: int | None = 5000
    measured: int = 80
    kinds: str = ""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int) and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} is {value}; expected 1 or more")

    def chosen(self, own: Sequence[str]) -> tuple[str, ...]:
        """The variants wanted."""
        return tuple(self.kinds.split(",")) if self.kinds else tuple(own)


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        question: in one line.
        by: fields of a row that tell its group; `seed` tells the rows of a group apart.
        measures: fields of a row that are averaged over the seeds.
        run: yields a row for every student.
        draw: draws the table's rows into a figure of matplotlib.
    """

    question: str
    by: tuple[str, ...]
    measures: tuple[str, ...]
    run: Callable[[Setting], Iterator[Row]]
    draw: Callable[[Any, list[Row]], None]


@dataclass(frozen=True)
class Problem:
    """One teacher's decisions, and the test split to measure by.

    Attributes:
        setting: of the study.
        teacher: decides, shown 256 levels.
        network: the teacher's own, for the white-box baseline; None where it shows none.
        images: the samples, uint8.
        tested: the test split.
        decided: the teacher's decisions on it.
    """

    setting: Setting
    teacher: Teacher
    network: nn.Module | None
    images: UInt8[np.ndarray, "n c h w"]
    tested: Part
    decided: Int64[np.ndarray, " m"]

    def of(self, teacher: Teacher, images: UInt8[np.ndarray, "n c h w"] | None = None) -> "Problem":
        """The same test split for another teacher or other samples; what is measured stays this teacher's decision."""
        kept = self.images if images is None else images
        return Problem(self.setting, teacher, None, kept, self.tested, self.decided)


def open_images(setting: Setting, name: str | None = None) -> Dataset:
    """A dataset as the studies see it: 28×28 grey."""
    chosen = {"size": 28, "channels": 1, "test_limit": setting.tested}
    return open_dataset(name or setting.dataset, setting.root, download=False, **chosen)


def local_problem(setting: Setting, architecture: str = "lenet5") -> Problem:
    """A local teacher, and samples of the images that it was trained on."""
    dataset = open_images(setting)
    network, _ = trained_network(dataset, architecture, setting.teacher_steps, setting.teachers)
    images = sampled(dataset, setting.samples)
    return problem(setting, as_teacher(network, len(dataset.class_names)), images, dataset.test(), network)


def problem(
    setting: Setting,
    teacher: Teacher,
    images: UInt8[np.ndarray, "n c h w"],
    tested: Part,
    network: nn.Module | None = None,
) -> Problem:
    """Ask the teacher about the test split, which belongs to no student's queries."""
    return Problem(setting, teacher, network, images, tested, decide_all(teacher, tested.images, CALL))


def sampled(dataset: Dataset, count: int) -> UInt8[np.ndarray, "n c h w"]:
    """Images of the training part, drawn without a look at any label."""
    images = dataset.train().images
    return np.array(images[draw_samples(len(images), min(count, len(images)), 0)])


def held_out(setting: Setting, count: int) -> UInt8[np.ndarray, "n c h w"]:
    """Training images that are no samples: what may be chosen, is chosen on them."""
    images = open_images(setting).train().images
    samples = draw_samples(len(images), min(setting.samples, len(images)), 0)
    others = np.setdiff1d(np.arange(len(images)), samples)
    return np.array(images[others[np.array(permutation(len(others), 0, Purpose.BENCHMARK, "held out")[:count])]])


def as_teacher(network: nn.Module, classes: int, shape: ImageShape = (1, 28, 28), levels: int = 256) -> Teacher:
    """A network that tells its decision; 256 levels: an image asked is the image stored."""
    spec = TeacherSpec(shape, (0.0, 1.0), classes, CALL, "of a study", levels)
    asked = Batching(NetworkTeacher(network, spec))
    return Quantised(asked) if levels else asked


def search(problem: Problem, kinds: Sequence[str]) -> VariantSources:
    """Boundary distances by bisection and, for `augmented`, as many images asked: what variants are built from."""
    setting, teacher = problem.setting, problem.teacher
    pool = TransferImages(problem.images, decide_all(teacher, problem.images, CALL))
    count, pairs = len(pool.images), teacher.spec.classes - 1
    settings = SearchSettings("bd", setting.queries, points=0, queried_images=pairs * setting.queries)
    found = search_distances(teacher, pool, range(count), settings)
    asked = int(found.asked.sum())
    samples = SearchedSamples(
        pool.images,
        pool.decisions,
        found.distances,
        BoundaryPoints(found.points, found.point_pairs),
        QueriedImages(found.queried_images, found.queried_decisions, found.queried_keys),
    )
    transfer = build_transfer_set(samples, recipe(asked / (count * pairs)))
    return VariantSources(
        transfer,
        1 + asked / count,
        distances=found.distances,
        augmented=decide_augmented(teacher, pool, range(asked), 0) if "augmented" in kinds else None,
        network=problem.network,
    )


def variants(sources: VariantSources, kinds: Sequence[str]) -> list[Variant]:
    """The variants of these names, in their order; `student` is the recipe's: every image asked, as decided.

    Raises:
        ConfigError: a kind that needs the teacher's scores, of a teacher that shows none.
    """
    names = tuple(kind for kind in kinds if kind != "student")
    built = build_variants(sources, VariantSettings(baselines=names, curve=False))  # type: ignore[arg-type]
    by_name = {variant.name: variant for variant in built}
    absent = [kind for kind in kinds if kind not in by_name]
    if absent:
        raise ConfigError(
            f"--kinds asks for {', '.join(absent)}; this study can build {', '.join(by_name)}: leave it out"
        )
    return [by_name[kind] for kind in kinds]


def trained(problem: Problem, chosen: Sequence[Variant], architecture: str = "lenet5_half") -> Iterator[TrainedStudent]:
    """One student of every variant for each seed, all for the same number of steps."""
    setting = problem.setting
    warmup = min(_WARMUP, setting.steps // 2)
    training = TrainSettings(steps=setting.steps, batch=setting.batch, warmup=warmup, arithmetic="float32")
    settings = StudentSettings(architecture, training, range(setting.seeds))
    for variant in chosen:
        yield from train_variants([variant], problem.teacher.spec.classes, settings)


def scored(problem: Problem, student: TrainedStudent) -> Row:
    """Kind and seed of a student, what it cost, and its accuracy and agreement on the test split."""
    told = decide_all(student.network, problem.tested.images, CALL)
    return {
        "kind": student.variant.name,
        "seed": student.seed,
        "queries_per_sample": student.variant.queries_per_sample,
        "accuracy": accuracy(told, np.asarray(problem.tested.labels)),
        "agreement": agreement(told, problem.decided),
    }


def teacher_accuracy(problem: Problem) -> float:
    """On the test split."""
    return accuracy(problem.decided, np.asarray(problem.tested.labels))


def table(study: Study, rows: Sequence[Row]) -> list[Row]:
    """One row for each group: mean and sd of every measure over the seeds."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in study.by), []).append(row)
    return [
        {
            **dict(zip(study.by, key, strict=True)),
            "seeds": len(group),
            **{name: summary([row[name] for row in group]) for name in study.measures},
        }
        for key, group in groups.items()
    ]
