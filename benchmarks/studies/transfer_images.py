"""What is a student worth that saw only images of another domain?

Every source gives as many images, and the teacher is asked the same number of queries: the images and augmented images
of them. Test images are the teacher's own domain. `photographs`: random crops of scikit-learn's two; `made`: prior
images, of no data at all (`db3.images.priors`); `digits`: scikit-learn's 8×8 ones, enlarged.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from benchmarks.studies import pictures
from benchmarks.studies.shared import (
    CALL,
    Problem,
    Row,
    Setting,
    Study,
    local_problem,
    open_images,
    problem,
    sampled,
    scored,
    search,
    trained,
    variants,
)
from db3.datasets import open_dataset
from db3.datasets.form import Form
from db3.datasets.pictures import adapt
from db3.errors import Db3Error
from db3.extras import needs
from db3.images.priors import prior_images
from db3.rng import Purpose, derived_seed
from db3.teachers import Batching, TeacherSpec
from db3.teachers.adapters.quantised import Quantised

Images = UInt8[np.ndarray, "n c h w"]
KINDS = ("student", "augmented")
_FOREIGN = "cifar10-teacher.onnx"
_LIMIT = 2000  # images of each part of CIFAR-10 that are decoded


def run(setting: Setting) -> Iterator[Row]:
    own = local_problem(setting)
    sources = {"own domain": own.images, "digits": sampled(open_images(setting, "digits"), setting.samples)}
    yield from _asked(f"{setting.dataset}, LeNet5", own, sources, setting.chosen(KINDS), "lenet5_half")
    try:
        foreign = foreign_problem(setting)
    except Db3Error as error:
        print(f"# the CIFAR-10 teacher is left out: {error}")
        return
    yield from _asked("CIFAR-10, ONNX", foreign, {"own domain": foreign.images}, setting.chosen(KINDS), "compact_half")


def _asked(
    name: str, known: Problem, sources: dict[str, Images], kinds: tuple[str, ...], architecture: str
) -> Iterator[Row]:
    shape, count = known.teacher.spec.input_shape, len(known.images)
    sources = {**sources, "photographs": crops(shape, count), "made": prior_images(shape, range(count), 0)}
    for source, images in sources.items():
        asked = known.of(known.teacher, images)
        found = search(asked, kinds)
        decided = len(np.unique(found.transfer.decisions))
        for student in trained(asked, variants(found, kinds), architecture):
            yield {"teacher": name, "source": source, **scored(known, student), "classes": decided}


def foreign_problem(setting: Setting) -> Problem:
    """The CIFAR-10 teacher that is an ONNX file below the root.

    Raises:
        Db3Error: file, images or the extra `onnx` are missing.
    """
    with needs("onnx", "the CIFAR-10 teacher"):
        from db3.teachers.adapters.onnx import OnnxTeacher  # noqa: PLC0415 - an extra

    limits = {"train_limit": max(_LIMIT, setting.samples), "test_limit": setting.tested or _LIMIT}
    dataset = open_dataset("cifar10", setting.root, download=False, **limits)
    spec = TeacherSpec(dataset.image_shape, (0.0, 1.0), len(dataset.class_names), CALL, _FOREIGN, 256)
    teacher = Quantised(Batching(OnnxTeacher(Path(setting.root or ".") / _FOREIGN, spec)))
    return problem(setting, teacher, sampled(dataset, setting.samples), dataset.test())


def crops(shape: tuple[int, int, int], count: int) -> Images:
    """Random squares of scikit-learn's two photographs, each of a side of its own, brought to the shape."""
    with needs("vision", "the photographs"):
        from sklearn.datasets import load_sample_images  # noqa: PLC0415 - a second to import

    photographs = load_sample_images().images
    random = np.random.default_rng(derived_seed(0, Purpose.BENCHMARK, "crops"))
    form, made = Form(shape[1:], shape[0], "crop"), np.empty((count, *shape), np.uint8)
    for place in range(count):
        photograph = photographs[place % len(photographs)]
        side = int(random.integers(48, 320))
        top, left = (int(random.integers(0, length - side + 1)) for length in photograph.shape[:2])
        square = photograph[top : top + side, left : left + side].transpose(2, 0, 1)
        made[place] = adapt(np.ascontiguousarray(square)[None], form)[0]
    return made


def draw(figure: Any, rows: list[Row]) -> None:
    teachers = list(dict.fromkeys(row["teacher"] for row in rows))
    shown = figure.subplots(1, len(teachers), sharey=True, squeeze=False)[0]
    for axes, teacher in zip(shown, teachers, strict=True):
        found = {(row["source"], row["kind"]): row for row in rows if row["teacher"] == teacher}
        sources = list(dict.fromkeys(source for source, _ in found))
        kinds = list(dict.fromkeys(kind for _, kind in found))
        series = {kind: [found.get((source, kind)) for source in sources] for kind in kinds}
        pictures.bars(axes, sources, series, "agreement", 100)
        axes.tick_params(axis="x", labelsize=8)
        pictures.finish(axes, title=teacher)
    shown[0].set_ylabel("agreement with the teacher, %")


STUDY = Study(
    "What is a student worth that saw only images of another domain?",
    ("teacher", "source", "kind", "classes"),
    ("queries_per_sample", "accuracy", "agreement"),
    run,
    draw,
)
