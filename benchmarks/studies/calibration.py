"""How far can a student's probabilities be trusted, by what it learnt from?

The expected calibration error (ECE: 15 equally filled bins) and the Brier score (sum over classes, 0 … 2) are taken on
the test split's true labels; `_scaled`: after one temperature, fitted to the teacher's decisions on held-out images.
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
    held_out,
    local_problem,
    scored,
    search,
    trained,
    variants,
)
from db3.gate.calibration import calibrated, calibration_error, fit_temperature
from db3.gate.scores import student_probabilities, sureness
from db3.teachers.decide import decide_all

KINDS = ("hard", "smoothing", "margin", "inverse", "student", "augmented", "kd")
_HELD = 500
_SHOWN = (("", "as trained", "C0"), ("_scaled", "one temperature", "C1"))


def run(setting: Setting) -> Iterator[Row]:
    problem = local_problem(setting)
    held = held_out(setting, _HELD)
    decided = decide_all(problem.teacher, held, CALL)
    kinds = setting.chosen(KINDS)
    chosen = variants(search(problem, kinds), kinds)
    for student in trained(problem, chosen):
        told = student_probabilities(student.network, problem.tested.images)
        temperature = fit_temperature(student_probabilities(student.network, held), decided)
        scaled = _errors(problem, calibrated(told, temperature))
        yield {
            **scored(problem, student),
            **_errors(problem, told),
            **{f"{name}_scaled": value for name, value in scaled.items()},
            "temperature": temperature,
        }


def _errors(problem: Problem, probabilities: npt.NDArray[Any]) -> Row:
    labels = np.asarray(problem.tested.labels)
    scores, decided = sureness(probabilities)
    truth = np.eye(probabilities.shape[1])[labels]
    return {
        "ece": calibration_error(scores, (decided == labels).astype(float)),
        "brier": float(((probabilities - truth) ** 2).sum(axis=1).mean()),
    }


def draw(figure: Any, rows: list[Row]) -> None:
    names = [row["kind"] for row in rows]
    for axes, measure, scale in zip(figure.subplots(1, 2), ("ece", "brier"), (100, 1), strict=True):
        for place, (suffix, label, colour) in enumerate(
            (("", "as trained", "C0"), ("_scaled", "one temperature", "C1"))
        ):
            values = [row[measure + suffix] for row in rows]
            at = [number + (place - 0.5) * 0.4 for number in range(len(names))]
            heights, spread = ([scale * value[part] for value in values] for part in ("mean", "sd"))
            axes.barh(at, heights, 0.4, xerr=spread, capsize=2, color=colour, label=label)
        axes.set_yticks(range(len(names)), [pictures.NAMES.get(name, name) for name in names], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlabel("ECE, %" if measure == "ece" else "Brier score")
        axes.grid(alpha=0.3, axis="x")
    axes.legend(frameon=False, fontsize=8)


STUDY = Study(
    "How far can a student's probabilities be trusted, by what it learnt from?",
    ("kind",),
    ("accuracy", "ece", "brier", "temperature", "ece_scaled", "brier_scaled"),
    run,
    draw,
)
