"""How small may the student be, and does a black box's student shrink as well as a white box's?"""

from collections.abc import Iterator
from typing import Any

from benchmarks.studies import pictures
from benchmarks.studies.shared import Row, Setting, Study, local_problem, scored, search, trained, variants
from db3.networks import count_parameters, multiply_adds

KINDS = ("hard", "student", "kd")
ARCHITECTURES = ("lenet5_fifth", "lenet5_half", "lenet5")


def run(setting: Setting) -> Iterator[Row]:
    problem = local_problem(setting)
    kinds = setting.chosen(KINDS)
    chosen = variants(search(problem, kinds), kinds)
    for architecture in ARCHITECTURES:
        for student in trained(problem, chosen, architecture):
            yield {
                "architecture": architecture,
                "parameters": count_parameters(student.network),
                "multiply_adds": multiply_adds(student.network, problem.teacher.spec.input_shape),
                **scored(problem, student),
            }


def draw(figure: Any, rows: list[Row]) -> None:
    for axes, measure in zip(figure.subplots(1, 2, sharey=True), ("accuracy", "agreement"), strict=True):
        for kind in dict.fromkeys(row["kind"] for row in rows):
            pictures.line(axes, [row for row in rows if row["kind"] == kind], "parameters", measure, kind)
        axes.set_xscale("log")
        pictures.finish(axes, xlabel="parameters", ylabel=f"{measure}, %")


STUDY = Study(
    "How small may the student be?",
    ("architecture", "parameters", "multiply_adds", "kind"),
    ("accuracy", "agreement"),
    run,
    draw,
)
