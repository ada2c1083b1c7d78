"""Stage evaluate: the one stage that reads the test split."""

import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from jaxtyping import Int, UInt8
from torch import nn

from db3.arithmetic import to_exact
from db3.datasets.base import Part
from db3.digest import digest_array
from db3.errors import ConfigError
from db3.evaluation import (
    Metrics,
    RunFacts,
    Size,
    VariantStudents,
    build_summary,
    evaluate_students,
    write_accuracy,
    write_confusion,
    write_curve,
)
from db3.gate.curve import CoveragePoint, coverage_curve, write_coverage
from db3.gate.scores import student_probabilities, sureness
from db3.networks import build, load_weights
from db3.students.latency import latency_ms
from db3.teachers.decide import decide_images
from db3.teachers.folder import is_open, open_network, read_card
from flows.config import Config
from flows.costs import sent_before, write_costs
from flows.engine.stage import stage
from flows.engine.teacher_work import Asking
from flows.inputs import dataset_of
from flows.manifests import Latency, StudentCard, TransferManifest, VariantEntry, read_manifest, write_manifest
from flows.student_files import check_student_file, check_variant


@stage("evaluate")
def evaluate(config: Config, data: Path) -> str:
    """Accuracy and agreement of the teacher, the student and every baseline on the test split; latency beside."""
    card, folder = read_card(data / "teacher"), data / "evaluation"
    transfer = read_manifest(data / "transfer" / "manifest.json", TransferManifest)
    student = read_manifest(data / "student" / "student.json", StudentCard)
    test = dataset_of(config, card["dataset"]["digest"]).test()
    decisions, asked = _teacher(config, data, test, transfer)
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
    found = evaluate_students(variants, test.images, test.labels, decisions, facts, classes=classes, batch=batch)
    write_manifest(folder / "metrics.json", found.metrics)
    write_manifest(folder / "summary.json", build_summary(found.metrics))
    write_confusion(folder / "confusion.csv", found.confusion)
    write_accuracy(folder / "accuracy.csv", decisions, found.variants, test.labels)
    write_curve(folder / "curve.csv", found.variants, test.labels)
    own = _decider(student, data / "student" / "student.safetensors")
    write_coverage(folder / "coverage.csv", _coverage(own, test.images, decisions))
    return f"{_summary(found.metrics)}; {asked}{_latency(config, data, student)}"


def _teacher(
    config: Config, data: Path, test: Part, transfer: TransferManifest
) -> tuple[npt.NDArray[np.int64] | None, str]:
    """The teacher's decisions on the test split, each asked once, and what is to be said of them.

    None where the budget cannot pay for all of them: then students are measured against the labels alone.
    """
    made_by = {"samples": transfer.samples, "query_decisions": transfer.decisions}
    asking = Asking(config, data, "evaluate", 0, sent_before(data, made_by, transfer.queries.votes))
    count = len(test.images)
    affordable = asking.affordable("test images", count)
    if affordable == count:
        decisions = decide_images(asking, test.images, "test images", asking.run)
        costs = write_costs(data, "evaluate", digest_array(decisions), asking)
        return decisions, f"the teacher was asked about {count:,} test images{costs}; "
    few = f"budget.total of {config.budget.total:,} leaves {affordable:,} queries for {count:,} test images"
    if test.labels is None:
        raise ConfigError(f"{few}, which have no labels either: raise it to measure agreement with the teacher")
    return None, f"{few}: agreement with the teacher is not measured; "


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


def _coverage(
    student: nn.Module, images: UInt8[np.ndarray, "n c h w"], decisions: Int[np.ndarray, " n"] | None
) -> list[CoveragePoint]:
    """How much the exported student would answer itself, against how often the teacher decides likewise."""
    if decisions is None:
        return []
    scores, own = sureness(student_probabilities(student, images))
    return coverage_curve(scores, own == decisions)


def _summary(metrics: Metrics) -> str:
    """The result in one line: student and hard decisions beside the teacher."""
    kind = metrics.measure
    shown = {"student": metrics.student} | {
        name: metrics.baselines[name] for name in ("hard",) if name in metrics.baselines
    }
    scores = {name: getattr(measured, kind) for name, measured in shown.items()}
    return ", ".join(f"{name} {100 * s.mean:.2f} ± {100 * s.sd:.2f} % {kind}" for name, s in scores.items())


def _latency(config: Config, data: Path, card: StudentCard) -> str:
    """Measure and write data/latency.json: a fact of this machine and moment, so in no versioned file."""
    runs, folder = config.runtime.latency_runs, data / "teacher"
    if not runs:
        return "latency not measured"
    student = latency_ms(_student(card, data / "student" / "student.safetensors"), card.input_shape, runs)
    teacher = latency_ms(open_network(folder), card.input_shape, runs) if is_open(read_card(folder)) else None
    write_manifest(data / "latency.json", Latency(teacher, student, platform.processor() or platform.machine()))
    shown = "is not measured" if teacher is None else f"{teacher:.2f} ms"
    return f"one image takes {student:.2f} ms, the teacher {shown}"


if __name__ == "__main__":
    evaluate.cli()
