"""Stage report: one self-contained page about the run."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from db3.errors import DataError
from db3.evaluation import Metrics
from db3.files import read_array, write_text
from db3.gate.curve import CoveragePoint
from db3.report import build_report
from db3.report.run import (
    ChoiceFacts,
    DatasetFacts,
    Loss,
    Run,
    SampleFacts,
    Score,
    SearchFacts,
    TeacherFacts,
    TransferFacts,
    VariantFacts,
)
from db3.report.snapshots import Snapshots, snapshots_by_round
from db3.settings import declare
from db3.soft_labels import soft_labels
from flows.bill import cost_in_all
from flows.config import Config
from flows.engine.stage import stage
from flows.manifests import (
    Choice,
    DecisionsManifest,
    SamplesManifest,
    StudentCard,
    TeacherCard,
    TransferManifest,
    VariantEntry,
    read_manifest,
)


@stage("report")
def report(config: Config, data: Path) -> str:
    """Write data/report/index.html; what the queries have cost is a fact of the runs, so it is told beside the page."""
    page = data / "report" / "index.html"
    write_text(page, build_report(read_run(data), declare.to_json(config)))
    cost = cost_in_all(data)
    return f"open {page} in a browser{'' if cost is None else f'; the queries have cost {cost:,.2f} in all'}"


def read_run(data: Path) -> Run:
    """Everything that the report tells; arrays stay memory-mapped.

    `decisions/distances_at.npy` and `student/history.csv` may be absent (no checkpoints; a student trained elsewhere).

    Raises:
        DataError: a needed file is missing, damaged, lacks a field, or its shape does not fit the others.
    """
    card = read_manifest(data / "teacher/teacher.json", TeacherCard)
    student = read_manifest(data / "student/student.json", StudentCard)
    transfer = read_manifest(data / "transfer/manifest.json", TransferManifest)
    samples = read_manifest(data / "samples/manifest.json", SamplesManifest)
    search = read_manifest(data / "decisions/manifest.json", DecisionsManifest)
    choice = read_manifest(data / "student/choice.json", Choice)
    decisions = read_array(data / "transfer/decisions.npy")
    pairs = len(decisions), card.classes
    dataset = card.dataset
    arithmetic = {"teacher": card.arithmetic, "samples": samples.arithmetic, "students": student.arithmetic}
    return Run(
        dataset=DatasetFacts(dataset.name, dataset.digest, dataset.train, dataset.test),
        teacher=TeacherFacts(card.identity, card.kind, card.architecture, card.class_names),
        student=student.architecture,
        variants=_read_variants(data / "student/variants.json"),
        metrics=read_manifest(data / "evaluation/metrics.json", Metrics),
        samples=_samples(samples),
        search=_search(search),
        transfer=_transfer(transfer),
        arithmetic={name: used for name, used in arithmetic.items() if used},
        images=_read_shaped(data / "transfer/images.npy", (len(decisions), *card.input_shape)),
        decisions=decisions,
        soft_labels=_soft_labels(data, transfer, pairs),
        distances=_read_shaped(data / "decisions/distances.npy", pairs),
        asked=_read_shaped(data / "decisions/asked.npy", pairs),
        distances_at=_read_checkpoints(data / "decisions/distances_at.npy", pairs),
        confusion=_read_confusion(data / "evaluation/confusion.csv", card.classes),
        scores=_read_scores(data / "evaluation/accuracy.csv"),
        losses=_read_losses(data / "student/history.csv"),
        choice=_choice(choice),
        boundary=search.boundary,
        coverage=_read_coverage(data / "evaluation/coverage.csv"),
        snapshots=_read_snapshots(data / "samples", samples),
    )


def _samples(manifest: SamplesManifest) -> SampleFacts:
    return SampleFacts(
        manifest.method,
        manifest.digest,
        manifest.queries.asked,
        manifest.sources or {},
        manifest.proposed or 0,
        manifest.purposes or {},
        manifest.foretold,
    )


def _search(manifest: DecisionsManifest) -> SearchFacts:
    return SearchFacts(
        manifest.method,
        manifest.digest,
        manifest.budget,
        manifest.checkpoints,
        manifest.queries.augmented,
        manifest.spent,
        manifest.unfinished,
    )


def _choice(choice: Choice) -> ChoiceFacts:
    agreed = {candidate.name: candidate.agreed for candidate in choice.candidates}
    leads = {candidate.name: candidate.lead for candidate in choice.candidates}
    return ChoiceFacts(choice.name, choice.samples, agreed, choice.reason, leads)


def _transfer(manifest: TransferManifest) -> TransferFacts:
    held = manifest.samples_of
    return TransferFacts(manifest.digest, manifest.mapping, manifest.scale, held.boundary_points, held.queried_images)


def _read_variants(path: Path) -> list[VariantFacts]:
    entries = read_manifest(path, tuple[VariantEntry, ...])
    return [VariantFacts(entry.name, entry.title, entry.queries_per_sample, entry.black_box) for entry in entries]


def _soft_labels(data: Path, transfer: TransferManifest, pairs: tuple[int, int]) -> Any:
    """The labels learnt; where those are bare decisions, margin labels of the distances, for the eye."""
    labels = _read_shaped(data / "transfer/soft_labels.npy", pairs)
    if transfer.mapping != "hard":
        return labels
    distances, decisions = read_array(data / "decisions/distances.npy"), read_array(data / "transfer/decisions.npy")
    return soft_labels("margin", distances, decisions)[0]


def _read_snapshots(folder: Path, samples: SamplesManifest) -> Snapshots | None:
    """The states of made samples to show; None for real ones."""
    if samples.method == "zsdb3":
        pictured, states = read_array(folder / "pictured.npy", mapped=False), samples.snapshots or ()
        return Snapshots(
            read_array(folder / "snapshots.npy", mapped=False),
            read_array(folder / "decisions.npy", mapped=False)[pictured],
            tuple(state.iterations for state in states),
            tuple(state.queries for state in states),
        )
    if (folder / "rounds.npy").is_file():
        return snapshots_by_round(*(read_array(folder / f"{name}.npy") for name in ("images", "decisions", "rounds")))
    return None


def _read_shaped(path: Path, shape: tuple[int, ...]) -> Any:
    array = read_array(path)
    _check_shape(path, array, shape)
    return array


def _read_checkpoints(path: Path, pairs: tuple[int, int]) -> Any:
    if not path.exists():
        return None
    array = read_array(path)
    _check_shape(path, array, (len(array), *pairs))
    return array if len(array) else None


def _check_shape(path: Path, array: Any, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise DataError(
            f"{path} has shape {list(array.shape)}; expected {list(shape)}: its folder belongs to another run, "
            "run the pipeline again"
        )


def _read_confusion(path: Path, classes: int) -> Int[np.ndarray, "k k"]:
    counts = np.zeros((classes, classes), dtype=np.int64)
    for row in _read_table(path, ("teacher", "student", "count")):
        try:
            counts[int(row["teacher"]), int(row["student"])] += int(row["count"])
        except (ValueError, IndexError):
            raise DataError(
                f"{path} holds {','.join(row.values())!r}; expected two classes in 0 … {classes - 1} and a count: "
                "run evaluate again"
            ) from None
    return counts


def _read_scores(path: Path) -> list[Score]:
    rows = _read_table(path, ("variant", "seed", "accuracy", "agreement"))
    try:
        return [
            Score(
                row["variant"],
                int(row["seed"]),
                *(float(row[kind]) if row[kind] else None for kind in ("accuracy", "agreement")),
            )
            for row in rows
        ]
    except ValueError as error:
        raise DataError(f"{path} holds a cell that is no number ({error}); run evaluate again") from None


def _read_coverage(path: Path) -> list[CoveragePoint]:
    names = ("threshold", "coverage", "agreement", "low", "high")
    try:
        return [CoveragePoint(*(float(row[name]) for name in names)) for row in _read_table(path, names)]
    except ValueError as error:
        raise DataError(f"{path} holds a cell that is no number ({error}); run evaluate again") from None


def _read_losses(path: Path) -> list[Loss]:
    if not path.exists():
        return []
    try:
        rows = _read_table(path, ("variant", "seed", "step", "loss"))
        return [Loss(r["variant"], int(r["seed"]), int(r["step"]), float(r["loss"])) for r in rows]
    except ValueError as error:
        raise DataError(f"{path} holds a cell that is no number ({error}); run distill again") from None


def _read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="")
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            rows = list(reader)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; run the stage that writes it") from error
    if missing:
        raise DataError(f"{path} lacks the column {missing[0]}; delete its folder and run the stage again")
    return rows


if __name__ == "__main__":
    report.cli()
