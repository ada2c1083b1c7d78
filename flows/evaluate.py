"""Stage evaluate: the one stage that reads the test split."""

import csv
import platform
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from torch import nn

from db3.arithmetic import to_exact
from db3.datasets.base import Part
from db3.digest import digest_array
from db3.errors import ConfigError
from db3.evaluation import (
    Int8Metrics,
    Metrics,
    RunFacts,
    Size,
    TeacherDecisions,
    VariantStudents,
    build_summary,
    evaluate_students,
    int8_metrics,
    write_accuracy,
    write_confusion,
    write_curve,
)
from db3.evaluation.certified import CertifiedAgreement, certify_agreement, draw_questions
from db3.evaluation.results import DECIMALS
from db3.files import read_json
from db3.gate.curve import CoveragePoint, coverage_curve, write_coverage
from db3.gate.scores import student_probabilities, sureness
from db3.networks import build, load_weights
from db3.publish.sinks import RunRecord, flat, numbers, tell_sinks
from db3.settings.declare import to_json as settings_json
from db3.students.export import onnx_session
from db3.students.int8 import onnx_decisions
from db3.students.latency import latency_ms, session_latency_ms
from db3.teachers.decide import decide_images
from db3.teachers.folder import is_open, open_network, read_card
from flows.bill import sent_before
from flows.config import Config
from flows.costs import write_costs
from flows.engine.stage import stage
from flows.engine.teacher_work import Asking
from flows.inputs import dataset_of
from flows.manifests import Latency, StudentCard, TransferManifest, VariantEntry, read_manifest, to_json, write_manifest
from flows.student_files import check_student_file, check_variant

_SHARES = ("estimate", "low", "high", "effective")  # rounded as every number of metrics.json


@stage("evaluate")
def evaluate(config: Config, data: Path) -> str:
    """Accuracy and agreement of the teacher, the student and every baseline on the test split; latency beside."""
    card, folder = read_card(data / "teacher"), data / "evaluation"
    transfer = read_manifest(data / "transfer" / "manifest.json", TransferManifest)
    student = read_manifest(data / "student" / "student.json", StudentCard)
    test = dataset_of(config, card["dataset"]["digest"]).test()
    teacher, asked = _teacher(config, data, test, transfer)
    facts = RunFacts(
        teacher=Size(card["parameters"], card["bytes"], card["multiply_adds"]),
        student=Size(student.parameters, student.bytes, student.multiply_adds),
        queries_asked=transfer.queries.asked,
        queries_per_sample=transfer.queries.per_sample,
        student_digest=student.digest,
        transfer_digest=transfer.digest,
        budget_spent=transfer.spent,
    )
    check_student_file(data / "student" / "student.safetensors", student.digest)
    variants = list(_variants(data / "student", student))
    classes, batch = card["classes"], config.evaluate.batch
    found = evaluate_students(variants, test.images, test.labels, teacher, facts, classes=classes, batch=batch)
    own = _decider(student, data / "student" / "student.safetensors")
    coverage, certified = _trust(own, test.images, teacher, certify=config.evaluate.questions is not None)
    metrics = replace(found.metrics, int8=_int8(data / "student", student, test, teacher), certified=certified)
    write_manifest(folder / "metrics.json", metrics)
    write_manifest(folder / "summary.json", build_summary(found.metrics))
    write_confusion(folder / "confusion.csv", found.confusion)
    write_accuracy(folder / "accuracy.csv", teacher, found.variants, test.labels)
    write_curve(folder / "curve.csv", found.variants, test.labels)
    write_coverage(folder / "coverage.csv", coverage)
    latency = _latency(config, data, student)
    if config.runtime.sinks:
        tell_sinks(config.runtime.sinks, _record(config, data, metrics))
    return f"{_summary(metrics)}; {asked}{latency}"


def _teacher(config: Config, data: Path, test: Part, transfer: TransferManifest) -> tuple[TeacherDecisions | None, str]:
    """The teacher's decisions on the test images, each asked once, and what is to be said of them.

    None where the budget cannot pay for all that are wanted: then students are measured against the labels alone.
    """
    made_by = {"samples": transfer.samples, "query_decisions": transfer.decisions}
    asking = Asking(config, data, "evaluate", 0, sent_before(data, made_by, transfer.queries.votes))
    rows = draw_questions(len(test.images), config.evaluate.questions)
    count = len(rows)
    affordable = asking.affordable("test images", count)
    if affordable == count:
        images = test.images if count == len(test.images) else test.images[rows]
        decisions = decide_images(asking, images, "test images", asking.run)
        costs = write_costs(data, "evaluate", digest_array(decisions), asking, config.runtime.price)
        return TeacherDecisions(rows, decisions), f"the teacher was asked about {count:,} test images{costs}; "
    few = f"budget.total of {config.budget.total:,} leaves {affordable:,} queries for {count:,} test images"
    if test.labels is None:
        raise ConfigError(
            f"{few}, which have no labels either: raise it to measure agreement with the teacher, or ask about fewer "
            "by evaluate.questions"
        )
    return None, f"{few}: agreement with the teacher is not measured (evaluate.questions asks about fewer); "


def _variants(folder: Path, card: StudentCard) -> Iterator[VariantStudents]:
    """The variants of distill; their students are opened one after the other."""
    for entry in read_manifest(folder / "variants.json", tuple[VariantEntry, ...]):
        places = zip(entry.seeds, check_variant(folder, entry), strict=True)
        students = ((seed, _decider(card, path)) for seed, path in places)
        yield VariantStudents(entry.name, entry.queries_per_sample, entry.black_box, students)


def _student(card: StudentCard, path: Path) -> nn.Module:
    network = build(card.architecture, card.input_shape, card.classes, seed=None)
    load_weights(network, path)
    return network.eval()


def _decider(card: StudentCard, path: Path) -> nn.Module:
    """The student as it is measured: in the arithmetic that it was trained in."""
    network = _student(card, path)
    return to_exact(network) if card.arithmetic == "exact" else network


def _trust(
    student: nn.Module, images: UInt8[np.ndarray, "n c h w"], teacher: TeacherDecisions | None, *, certify: bool
) -> tuple[list[CoveragePoint], CertifiedAgreement | None]:
    """How much the exported student would answer itself, against how often the teacher decides likewise; and, where
    wanted, its agreement, whose interval its scores on the images that were not asked narrow.
    """
    if teacher is None:
        return [], None
    scores, own = sureness(student_probabilities(student, images))
    asked, agrees = scores[teacher.rows], own[teacher.rows] == teacher.decisions
    coverage = coverage_curve(asked, agrees)
    if not certify:
        return coverage, None
    others = np.delete(scores, teacher.rows)
    found = certify_agreement(agrees, **({"scores": asked, "undecided": others} if len(others) else {}))
    return coverage, replace(found, **{name: round(getattr(found, name), DECIMALS) for name in _SHARES})


def _int8(folder: Path, card: StudentCard, test: Part, teacher: TeacherDecisions | None) -> Int8Metrics | None:
    """What the int8 file decides beside the float32 one, where there is one."""
    if card.int8 is None or card.onnx is None:
        return None
    model = check_student_file(folder / "student.onnx", card.onnx.digest).read_bytes()
    quantised = check_student_file(folder / "student.int8.onnx", card.int8.digest).read_bytes()
    own, plain = onnx_decisions(quantised, test.images), onnx_decisions(model, test.images)
    return int8_metrics(own, plain, teacher, test.labels, sizes=(len(quantised), len(model)))


def _summary(metrics: Metrics) -> str:
    """The result in one line: student and hard decisions beside the teacher."""
    kind = metrics.measure
    shown = {"student": metrics.student} | {
        name: metrics.baselines[name] for name in ("hard",) if name in metrics.baselines
    }
    scores = {name: getattr(measured, kind) for name, measured in shown.items()}
    shares = []
    for name, score in scores.items():
        deviation = f" ± {100 * score.sd:.2f}" if metrics.seeds > 1 else ""
        shares.append(f"{name} {100 * score.mean:.2f}{deviation} % {kind}")
    if metrics.certified is not None:
        shares.append(f"its first seed {metrics.certified}")
    if metrics.int8 is not None:
        shares.append(f"int8 {100 * (getattr(metrics.int8, kind) or 0):.2f} % {kind}")
    return ", ".join(shares)


def _record(config: Config, data: Path, metrics: Metrics) -> RunRecord:
    """What trackers are told: every parameter but those of `runtime`, every number, and how the student learnt."""
    parameters = {name: value for name, value in settings_json(config).items() if name != "runtime"}
    path, latency = data / "student" / "history.csv", data / "latency.json"
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if (row["variant"], row["seed"]) == ("student", "0")]
    losses = [(int(row["step"]), float(row["loss"])) for row in rows]
    measured = {**numbers(to_json(metrics)), **(numbers({"latency": read_json(latency)}) if latency.is_file() else {})}
    files = [data / "student" / "README.md", data / "evaluation" / "metrics.json", data / "transfer" / "manifest.json"]
    return RunRecord(metrics.transfer.digest[:12], flat(parameters), measured, {"loss": losses}, files)


def _latency(config: Config, data: Path, card: StudentCard) -> str:
    """Measure and write data/latency.json: a fact of this machine and moment, so in no versioned file."""
    runs, folder = config.runtime.latency_runs, data / "teacher"
    if not runs:
        return "latency not measured"
    student = latency_ms(_student(card, data / "student" / "student.safetensors"), card.input_shape, runs)
    teacher = latency_ms(open_network(folder), card.input_shape, runs) if is_open(read_card(folder)) else None
    files = [data / "student" / f"student.{kind}" for kind in ("onnx", "int8.onnx")] if card.int8 else []
    others = [session_latency_ms(onnx_session(path.read_bytes()), card.input_shape, runs) for path in files]
    machine = platform.processor() or platform.machine()
    write_manifest(data / "latency.json", Latency(teacher, student, machine, *others))
    shown = "is not measured" if teacher is None else f"{teacher:.2f} ms"
    beside = ", by onnxruntime {:.2f} ms and in int8 {:.2f} ms".format(*others) if others else ""
    return f"one image takes {student:.2f} ms{beside}, the teacher {shown}"


if __name__ == "__main__":
    evaluate.cli()
