"""What a distillation brings, and its files."""

import logging
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from db3.api.plan import Plan
from db3.api.student import Student
from db3.api.teacher import ModelTeacher
from db3.errors import ConfigError, DataError
from db3.evaluation import agreement
from db3.evaluation.certified import CertifiedAgreement, certify_agreement
from db3.files import read_json, write_array, write_json
from db3.gate.choose import fit_gate
from db3.gate.curve import coverage_curve
from db3.gate.gate import Gate
from db3.publish.sinks import RunRecord, flat, numbers
from db3.settings.declare import to_json
from db3.soft_labels import TransferSet
from db3.students.choices import decided_images, remarks, told_of_initial
from db3.students.export import export_onnx, onnx_session
from db3.students.int8 import onnx_decisions
from db3.students.latency import session_latency_ms
from db3.training.train import TrainSettings
from db3.types import TransferImages
from db3.zero_shot.foretold import front_door_warning

_CALIBRATED = 256  # samples that the ranges of an int8 file are taken from
_TIMED = 30  # calls
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Queries:
    """What a run has asked, its earlier tries in the same folder included.

    Attributes:
        asked: images wanted decided.
        sent: every attempt to send one: what is billed.
        input_tokens: of the questions that the answers were billed for, where they say it.
        output_tokens: likewise, of the answers.
    """

    asked: int
    sent: int
    input_tokens: int = 0
    output_tokens: int = 0


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
        made: whether they are made images, which tell little of others.
        missing: names of classes that the teacher never decided.
        skipped: samples that it gave no class, left out (`unclear="skip"`).
        plan: how the queries were spent.
        folder: where everything lies.
        foretold: share of the last round's decisions on made images that a network which had learnt all others
            foretold: how much of the teacher these images tell. None: there were no rounds.
    """

    student: Student
    transfer: TransferSet
    digest: str
    queries: Queries
    held_out: TransferImages
    agreement: float | None
    made: bool
    missing: tuple[str, ...]
    plan: Plan
    folder: Path
    skipped: int = 0
    foretold: float | None = None

    def __str__(self) -> str:
        size = f"{self.student.architecture}, {self.student.parameters:,} parameters"
        agrees = "" if self.agreement is None else f"; {self.certify()}{' on made images' if self.made else ''}"
        left = f"; {self.skipped:,} samples of no class left out" if self.skipped else ""
        return f"{size}{agrees}{left}; {self.queries.asked:,} queries asked, {self.queries.sent:,} sent; {self.folder}"

    def certify(self, confidence: float = 0.95) -> CertifiedAgreement:
        """Agreement with its confidence interval, from the images held out.

        Raises:
            DataError: none were held out.
        """
        scores, decisions = self.held()
        return certify_agreement(scores.argmax(axis=1) == decisions, confidence)

    def gate(self, agreement: float = 0.99, confidence: float = 0.95) -> Gate:
        """A threshold on the student's score: of images like those held out, and answered by the student itself, at
        least `agreement` are decided as the teacher would, with `confidence` (`db3.Gate`); for `db3.Cascade`.

        Raises:
            DataError: no image was held out, or they are made ones, which no promise of others follows from.
            Db3Error: so few cannot prove it; says how many it would take.
        """
        if self.made:
            raise DataError(
                "the images held out are made ones, so a gate would promise nothing of yours: give some of those that "
                "the student is to decide, as held_out=images"
            )
        return fit_gate(*self.held(), agreement, confidence)

    def held(self) -> tuple[Float[np.ndarray, "n k"], Int64[np.ndarray, " n"]]:
        """The student's probabilities of the images held out [n, K], and the teacher's decisions on them [n].

        Raises:
            DataError: none were held out.
        """
        if not len(self.held_out.decisions):
            raise DataError("no image was held out, so nothing can be promised: set held_out to some hundreds")
        return self._scores, self.held_out.decisions

    @cached_property
    def _scores(self) -> Float[np.ndarray, "n k"]:
        return self.student.scores(self.held_out.images)


def write_result(found: Result, teacher: ModelTeacher, learnt: TrainSettings) -> Result:
    """Write transfer set, student and what was measured, each into files of its own; the result with its card."""
    folder, learn = found.folder, found.plan.settings.distill
    for name, array in found.transfer.arrays().items():
        write_array(folder / "transfer" / f"{name}.npy", array)
    training = {
        **{"steps": learnt.steps, "batch": learnt.batch, "learning rate": learnt.lr},
        **{"arithmetic": learnt.arithmetic},
        **told_of_initial(learn.initial_weights),
    }
    told = {"teacher": teacher.spec.identity, "transfer": found.digest, "training": training}
    student = replace(found.student, told={**told, "measured": _measured(found)})
    if learn.onnx:
        _export(student, folder / "student" / "student.onnx")
    int8 = _int8(found, folder / "student" / "student.int8.onnx") if learn.int8 else {}
    student = replace(student, told={**student.told, **int8})
    student.save(folder / "student")
    content = {
        "agreement": found.agreement,
        "held_out": len(found.held_out.decisions),
        "made": found.made,
        "coverage": _coverage(found),
        "queries": asdict(found.queries),
        "missing_classes": list(found.missing),
        "skipped": found.skipped,
        "foretold": found.foretold,
        "transfer": found.digest,
        "teacher": {"identity": teacher.spec.identity, "parameters": teacher.parameters},
        "student": {"architecture": student.architecture, "parameters": student.parameters},
        "settings": to_json(found.plan.settings),
        **int8,
    }
    write_json(folder / "result.json", content)
    return replace(found, student=student)


def _coverage(found: Result) -> list[dict[str, float]]:
    """How much the student answers against how often it then agrees."""
    if found.agreement is None:
        return []
    scores, decisions = found.held()
    agrees = scores.argmax(axis=1) == decisions
    return [asdict(point) for point in coverage_curve(scores.max(axis=1), agrees)]


def record_of(found: Result) -> RunRecord:
    """What trackers are told of a run: what stands in its result.json."""
    told = read_json(found.folder / "result.json")
    files = [found.folder / "result.json", found.folder / "student" / "README.md"]
    measured = numbers({name: value for name, value in told.items() if name != "settings"})
    return RunRecord(found.digest[:12], flat(told["settings"]), measured, files=files)


def warn_of(found: Result, teacher: ModelTeacher, learnt: TrainSettings) -> None:
    """Log what a user should know before the student is used."""
    if found.missing:
        names = ", ".join(found.missing[:5])
        _logger.warning("the teacher never decided %s of the classes: %s", len(found.missing), names)
    for warning in front_door_warning(found.foretold, found.plan.settings.samples.method):
        _logger.warning(warning.replace("\N{NO-BREAK SPACE}", " "))
    images, assisted = decided_images(found.transfer), found.plan.settings.distill.assistants.networks > 0
    for remark in remarks(learnt, images, found.student.parameters, teacher.parameters, assisted):
        _logger.warning(remark)


def _measured(found: Result) -> str:
    if found.agreement is None:
        return "No image was held out, so agreement with the teacher is unknown."
    held = "made images" if found.made else "images held out"
    return f"{found.certify()} with the teacher, on {held}. {found.queries.asked:,} images were asked in all."


def _export(student: Student, path: Path) -> None:
    try:
        student.export(path)
    except ConfigError as error:  # the extra is not installed
        _logger.info("no ONNX file: %s", error)


def _int8(found: Result, path: Path) -> dict[str, Any]:
    """The int8 file, and what it is beside the float32 one: size, time and agreement with the teacher by itself."""
    facts = found.student.export_int8(path, found.transfer.images[:_CALIBRATED])
    quantised = path.read_bytes()
    model = export_onnx(found.student.network, found.student.input_shape)
    times = [session_latency_ms(onnx_session(each), found.student.input_shape, _TIMED) for each in (model, quantised)]
    told: dict[str, Any] = {**asdict(facts), "milliseconds": times[1], "float32_milliseconds": times[0]}
    held, measured = found.held_out, "{1:.2f} ms an image here against {0:.2f}".format(*times)
    if len(held.decisions):
        told["agreement"] = agreement(onnx_decisions(quantised, held.images), held.decisions)
        measured = f"{told['agreement']:.2%} agreement with the teacher on images held out; {measured}"
    return {"int8": {**told, "measured": measured}}
