"""Does it matter that student and teacher are of different kinds?

Three teachers of about the same worth that have little in common: LeNet5, a network of 3×3 convolutions with batch
normalisation, and a random forest on bare pixels, whose boundary is dust.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

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
    teacher_accuracy,
    trained,
    variants,
)
from db3.datasets import Dataset
from db3.datasets.subset import draw_samples
from db3.extras import needs
from db3.teachers import Batching, Teacher, TeacherSpec
from db3.teachers.adapters.callable import CallableTeacher
from db3.teachers.adapters.quantised import Quantised

KINDS = ("hard", "smoothing", "student", "augmented")
TEACHERS = ("lenet5", "random forest", "compact_half")
STUDENTS = ("lenet5_half", "compact_half")
_TREES = 50
_LEARNT = 10_000  # images that the forest is fitted to


def run(setting: Setting) -> Iterator[Row]:
    kinds = setting.chosen(KINDS)
    for name in TEACHERS:
        asked = _forest_problem(setting) if name == "random forest" else local_problem(setting, name)
        chosen, worth = variants(search(asked, kinds), kinds), teacher_accuracy(asked)
        for architecture in STUDENTS:
            for student in trained(asked, chosen, architecture):
                yield {
                    "teacher": name,
                    "architecture": architecture,
                    **scored(asked, student),
                    "teacher_accuracy": worth,
                }


def _forest_problem(setting: Setting) -> Problem:
    dataset = open_images(setting)
    return problem(setting, _forest(dataset), sampled(dataset, setting.samples), dataset.test())


def _forest(dataset: Dataset) -> Teacher:
    with needs("vision", "a random forest"):
        from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 - a second to import

    part = dataset.train()
    rows = draw_samples(len(part.images), min(_LEARNT, len(part.images)), 1)
    forest = RandomForestClassifier(_TREES, random_state=0, n_jobs=1)
    forest.fit(part.images[rows].reshape(len(rows), -1) / 255, np.asarray(part.labels)[rows])

    def classify(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.asarray(forest.predict(images.reshape(len(images), -1)))

    spec = TeacherSpec(dataset.image_shape, (0.0, 1.0), len(dataset.class_names), CALL, "a forest of a study", 256)
    return Quantised(Batching(CallableTeacher(classify, spec), pad=False))


def draw(figure: Any, rows: list[Row]) -> None:
    shown = figure.subplots(1, len(STUDENTS), sharey=True)
    for axes, architecture in zip(shown, STUDENTS, strict=True):
        found = {(row["teacher"], row["kind"]): row for row in rows if row["architecture"] == architecture}
        kinds = dict.fromkeys(row["kind"] for row in rows)
        series = {kind: [found.get((name, kind)) for name in TEACHERS] for kind in kinds}
        pictures.bars(axes, TEACHERS, series, "agreement", 100)
        pictures.finish(axes, title=f"student: {architecture}")
    lowest = min(row["agreement"]["mean"] for row in rows)
    shown[0].set(ylabel="agreement with the teacher, %", ylim=(max(0, 100 * lowest - 5), 100))


STUDY = Study(
    "Does it matter that student and teacher are of different kinds?",
    ("teacher", "architecture", "kind"),
    ("teacher_accuracy", "accuracy", "agreement"),
    run,
    draw,
)
