"""Read the folders of docs/pipeline.md that the report tells of; arrays stay memory-mapped."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from db3.errors import DataError
from db3.files import read_array, read_json
from db3.report.snapshots import Snapshots, read_snapshots
from db3.soft_labels import soft_labels

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Score:
    """One student of one variant: a row of accuracy.csv (accuracy is None without labels)."""

    variant: str
    seed: int
    accuracy: float | None
    agreement: float | None


@dataclass(frozen=True)
class Loss:
    """A row of the student's history.csv."""

    variant: str
    seed: int
    step: int
    loss: float


@dataclass(frozen=True)
class Run:
    """Everything the report is made of. N samples, K classes, T checkpoints."""

    teacher: Json
    student: Json
    variants: Sequence[Json]
    metrics: Json
    samples: Json
    search: Json
    transfer: Json
    images: UInt8[np.ndarray, "n c h w"]
    decisions: Int[np.ndarray, " n"]
    soft_labels: Float[np.ndarray, "n k"]
    distances: Float[np.ndarray, "n k"]
    asked: Int[np.ndarray, "n k"]
    distances_at: Float[np.ndarray, "t n k"] | None
    confusion: Int[np.ndarray, "k k"]
    scores: Sequence[Score]
    losses: Sequence[Loss]
    snapshots: Snapshots | None = None

    @property
    def is_made(self) -> bool:
        """Whether queries were spent on making samples alone: then their number tells more than their share of one."""
        return bool(self.samples["method"] != "real" and self.search["method"] == "none")

    @property
    def classes(self) -> int:
        return int(self.teacher["classes"])

    @property
    def names(self) -> list[str]:
        """Name of each class; its number where it has none."""
        given = list(self.teacher.get("class_names") or [])
        return [str(given[k]) if k < len(given) else str(k) for k in range(self.classes)]


def read_run(data: Path) -> Run:
    """Read a run's folder.

    `decisions/distances_at.npy` and `student/history.csv` may be absent (no checkpoints; a student trained elsewhere).

    Raises:
        DataError: a needed file is missing, damaged, lacks a key, or its shape does not fit the others.
    """
    teacher = _read_object(data / "teacher/teacher.json", "identity", "classes", "input_shape")
    classes = int(teacher["classes"])
    decisions = read_array(data / "transfer/decisions.npy")
    count, pairs = len(decisions), (len(decisions), classes)
    images = read_array(data / "transfer/images.npy")
    _check_shape(data / "transfer/images.npy", images, (count, *teacher["input_shape"]))
    at = data / "decisions/distances_at.npy"
    samples = _read_object(data / "samples/manifest.json", "method", "digest")
    return Run(
        teacher=teacher,
        student=_read_object(data / "student/student.json", "architecture"),
        variants=_read_variants(data / "student/variants.json"),
        metrics=_read_object(
            data / "evaluation/metrics.json", "teacher", "student", "queries", "transfer", "test_images"
        ),
        samples=samples,
        search=_read_object(data / "decisions/manifest.json", "method", "budget", "queries", "digest"),
        transfer=_read_object(data / "transfer/manifest.json", "digest", "mapping"),
        images=images,
        decisions=decisions,
        soft_labels=_soft_labels(data, pairs),
        distances=_read_pairs(data / "decisions/distances.npy", pairs),
        asked=_read_pairs(data / "decisions/asked.npy", pairs),
        distances_at=_read_checkpoints(at, pairs) if at.exists() else None,
        confusion=_read_confusion(data / "evaluation/confusion.csv", classes),
        scores=_read_scores(data / "evaluation/accuracy.csv"),
        losses=_read_losses(data / "student/history.csv"),
        snapshots=read_snapshots(data, samples),
    )


def _soft_labels(data: Path, pairs: tuple[int, int]) -> Any:
    """The labels learnt; where those are bare decisions, margin labels of the distances, for the eye."""
    labels = _read_pairs(data / "transfer/soft_labels.npy", pairs)
    if _read_object(data / "transfer/manifest.json", "mapping")["mapping"] != "hard":
        return labels
    distances, decisions = read_array(data / "decisions/distances.npy"), read_array(data / "transfer/decisions.npy")
    return soft_labels("margin", distances, decisions)[0]


def _read_object(path: Path, *keys: str) -> Json:
    value = read_json(path)
    missing = [key for key in keys if not isinstance(value, dict) or key not in value]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}; delete its folder and run the stage that writes it again")
    return value  # type: ignore[no-any-return]


def _read_variants(path: Path) -> list[Json]:
    value = read_json(path)
    if not isinstance(value, list) or not all(isinstance(variant, dict) and "name" in variant for variant in value):
        raise DataError(
            f"{path} holds no list of named variants; delete its folder and run the stage that writes it again"
        )
    return value


def _read_pairs(path: Path, shape: tuple[int, ...]) -> Any:
    array = read_array(path)
    _check_shape(path, array, shape)
    return array


def _read_checkpoints(path: Path, pairs: tuple[int, int]) -> Any:
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
