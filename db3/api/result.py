"""What a distillation brings, and its files."""

import logging
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path

from db3.api.plan import Plan
from db3.api.student import Student
from db3.api.teacher import ModelTeacher
from db3.errors import ConfigError
from db3.extras import needs
from db3.files import write_array, write_json
from db3.settings.declare import to_json
from db3.soft_labels import TransferSet
from db3.students.choices import decided_images, remarks
from db3.training.train import TrainSettings
from db3.types import TransferImages

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Queries:
    """What a run has asked, its earlier tries in the same folder included.

    Attributes:
        asked: images wanted decided.
        sent: every attempt to send one: what is billed.
    """

    asked: int
    sent: int


@dataclass(frozen=True)
class Result:
    """What `distill` brings.

    Attributes:
        student: trained.
        transfer: what it learnt from.
        digest: of the transfer set.
        queries: what that has cost, and what was held out.
        held_out: images asked to measure by, and the teacher's decisions on them; empty: none were.
        agreement: share of these on which student and teacher agree; None: none were held out.
        missing: names of classes that the teacher never decided.
        plan: how the queries were spent.
        folder: where everything lies.
    """

    student: Student
    transfer: TransferSet
    digest: str
    queries: Queries
    held_out: TransferImages
    agreement: float | None
    missing: tuple[str, ...]
    plan: Plan
    folder: Path

    def __str__(self) -> str:
        size = f"{self.student.architecture}, {self.student.parameters:,} parameters"
        count = len(self.held_out.decisions)
        agrees = "" if self.agreement is None else f", agrees on {self.agreement:.1%} of {count:,} images held out"
        return f"{size}{agrees}; {self.queries.asked:,} queries asked, {self.queries.sent:,} sent; {self.folder}"


def write_result(found: Result, teacher: ModelTeacher, learnt: TrainSettings) -> Result:
    """Write transfer set, student and what was measured, each into files of its own; the result with its card."""
    folder, learn = found.folder, found.plan.settings.distill
    for name, array in found.transfer.arrays().items():
        write_array(folder / "transfer" / f"{name}.npy", array)
    training = {
        **{"steps": learnt.steps, "batch": learnt.batch, "learning rate": learnt.lr},
        **{"arithmetic": learnt.arithmetic},
    }
    told = {"teacher": teacher.spec.identity, "transfer": found.digest, "training": training}
    student = replace(found.student, told={**told, "measured": _measured(found)})
    if learn.onnx:
        _export(student, folder / "student" / "student.onnx")
    student.save(folder / "student")
    content = {
        "agreement": found.agreement,
        "held_out": len(found.held_out.decisions),
        "queries": asdict(found.queries),
        "missing_classes": list(found.missing),
        "transfer": found.digest,
        "teacher": {"identity": teacher.spec.identity, "parameters": teacher.parameters},
        "student": {"architecture": student.architecture, "parameters": student.parameters},
        "settings": to_json(found.plan.settings),
    }
    write_json(folder / "result.json", content)
    return replace(found, student=student)


def warn_of(found: Result, teacher: ModelTeacher, learnt: TrainSettings) -> None:
    """Log what a user should know before the student is used."""
    if found.missing:
        names = ", ".join(found.missing[:5])
        _logger.warning("the teacher never decided %s of the classes: %s", len(found.missing), names)
    images, assisted = decided_images(found.transfer), found.plan.settings.distill.assistants.networks > 0
    for remark in remarks(learnt, images, found.student.parameters, teacher.parameters, assisted):
        _logger.warning(remark)


def _measured(found: Result) -> str:
    if found.agreement is None:
        return "No image was held out, so agreement with the teacher is unknown."
    return (
        f"On {len(found.held_out.decisions):,} decided images held out, {found.agreement:.1%} of its decisions are the "
        f"teacher's. {found.queries.asked:,} images were asked in all."
    )


def _export(student: Student, path: Path) -> None:
    try:
        with needs("onnx", "ONNX export"):
            for package in ("onnx", "onnxruntime", "onnxscript"):
                import_module(package)
    except ConfigError as error:
        _logger.info("no ONNX file: %s", error)
        return
    student.export(path)
