"""A small, complete run of docs/pipeline.md: invented but plausible numbers, all drawn from one seed."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db3.evaluation import (
    RunFacts,
    Size,
    TeacherDecisions,
    VariantDecisions,
    build_metrics,
    confusion,
    write_accuracy,
    write_confusion,
    write_curve,
)
from db3.gate.curve import coverage_curve, write_coverage
from db3.soft_labels import alone
from db3.students.choose import Choice
from flows.manifests import (
    DatasetFacts,
    DecisionsManifest,
    DecisionsQueries,
    FlipRate,
    SampleQueries,
    SamplesManifest,
    StudentCard,
    TeacherCard,
    TransferManifest,
    TransferQueries,
    TransferSize,
    write_manifest,
)

BASELINES = ("hard", "smoothing", "noise", "inverse", "augmented", "kd")
TITLES = {
    "student": "Boundary soft labels (margin)",
    "hard": "Hard decisions",
    "smoothing": "Uniform label smoothing",
    "noise": "Random-noise logits",
    "inverse": "Inverse mapping (paper)",
    "augmented": "Decisions on augmented images",
    "kd": "Logit distillation",
}
LEVELS = {
    "student": 0.969, "hard": 0.942, "smoothing": 0.962, "noise": 0.912, "inverse": 0.955, "augmented": 0.972,
    "kd": 0.976, "student@10": 0.955, "student@50": 0.964,
}  # fmt: skip

Writer = Callable[..., Path]


@pytest.fixture
def write_run(tmp_path: Path) -> Writer:
    """`write_run(classes=10, …)` writes a run under tmp_path and returns its data folder."""
    return lambda **options: build_run(tmp_path / "data", **options)


@dataclass(frozen=True)
class Plan:
    """What a run is like."""

    classes: int = 10
    shape: tuple[int, int, int] = (1, 28, 28)
    count: int = 120
    names: Sequence[str] | None = None
    baselines: Sequence[str] = BASELINES
    checkpoints: Sequence[int] = (10, 50)
    budget: int = 100
    seeds: int = 3
    tests: int = 597
    labelled: bool = True
    local: bool = True
    unreached: float = 0.01


def build_run(data: Path, **options: Any) -> Path:
    """Write a run into `data` and return it."""
    plan, random = Plan(**options), np.random.default_rng(0)
    decisions = np.arange(plan.count) % plan.classes
    distances, at, asked = _search(plan, random, decisions)
    _save(data / "transfer/images.npy", _images(random, decisions, plan.shape))
    _save(data / "transfer/decisions.npy", decisions)
    _save(data / "transfer/soft_labels.npy", _soften(distances))
    _save(data / "decisions/distances.npy", distances)
    _save(data / "decisions/distances_at.npy", at)
    _save(data / "decisions/asked.npy", asked)
    _manifests(plan, data, asked)
    variants = _variants(plan, asked)
    _dump(data / "student/variants.json", variants)
    write_manifest(data / "student/choice.json", Choice(reason="distill.folds is 0"))
    _history(data / "student/history.csv", random, variants)
    _evaluation(plan, data / "evaluation", random, variants, int(asked.sum()) + plan.count)
    return data


def _search(plan: Plan, random: Any, decisions: Any) -> tuple[Any, Any, Any]:
    pairs = (plan.count, plan.classes)
    spread = 2.2 + 1.6 * random.random((plan.classes, plan.classes))
    final = ((spread + spread.T) / 2)[decisions] * random.normal(1, 0.12, pairs).clip(0.6, 1.5)
    final[random.random(pairs) < plan.unreached] = np.inf
    own = decisions[:, None] == np.arange(plan.classes)
    steps = [final * (1 + 3.0 / np.sqrt(mark)) for mark in plan.checkpoints]
    at = np.stack(steps) if steps else np.empty((0, *pairs))
    asked = np.minimum(plan.budget, random.poisson(max(0.85 * plan.budget, 1), pairs))
    final[own], at[:, own], asked[own] = 0, 0, 0
    return final.astype(np.float32), at.astype(np.float32), asked.astype(np.int32)


def _soften(distances: Any) -> Any:
    scores = np.exp(-1.2 * distances.astype(np.float64))
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def _images(random: Any, decisions: Any, shape: tuple[int, int, int]) -> Any:
    """The bundled digits where they fit, else smooth blobs."""
    from sklearn.datasets import load_digits

    channels, height, width = shape
    if channels == 1 and decisions.max() < 10:
        digits = load_digits()
        small = [digits.images[np.flatnonzero(digits.target == k)[i // 10]] / 16 for i, k in enumerate(decisions)]
    else:
        small = list(random.random((len(decisions), channels, 8, 8)))
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
    large = np.asarray(small)[..., rows, :][..., columns].reshape(len(decisions), *shape)
    return np.rint(255 * large).astype(np.uint8)


def _manifests(plan: Plan, data: Path, asked: Any) -> None:
    names = [*(plan.names or []), *map(str, range(plan.classes))][: plan.classes]
    if plan.names:
        names[len(plan.names) :] = map(str, range(len(plan.names), plan.classes))
    size = (187_780, 751_120, 2_293_000) if plan.local else (None, None, None)
    teacher = TeacherCard(
        "train" if plan.local else "http",
        "lenet5" if plan.local else None,
        plan.shape,
        (0.0, 1.0),
        plan.classes,
        tuple(names),
        "none",
        1,
        DatasetFacts("digits", "d1" * 32, 1200, 597),
        256,
        *size,
        "7e" * 32,
    )
    write_manifest(data / "teacher/teacher.json", teacher)
    steady, asked_once = FlipRate(0, 0, None), SampleQueries(plan.count, plan.count)
    samples = SamplesManifest("real", plan.count, (), {}, asked_once, steady, "7e" * 32, "5a" * 32)
    write_manifest(data / "samples/manifest.json", samples)
    total = int(asked.sum())
    search = DecisionsManifest(
        method="mbd",
        budget=plan.budget,
        checkpoints=tuple(plan.checkpoints),
        queries=DecisionsQueries(
            asked=total,
            votes=total,
            synthetic_queries=0,
            augmented=total + plan.count if "augmented" in plan.baselines else 0,
            per_sample=total / plan.count,
            per_pair=total / (plan.count * (plan.classes - 1)),
        ),
        flips=steady,
        spent=False,
        unfinished=0,
        unreached=0,
        points=0,
        queried_images=0,
        shard=64,
        seed=0,
        teacher="7e" * 32,
        samples="5a" * 32,
        digest="b0" * 32,
    )
    write_manifest(data / "decisions/manifest.json", search)
    transfer = TransferManifest(
        "c3" * 32,
        "margin",
        alone("margin"),
        TransferSize(plan.count),
        TransferQueries(total, total, total / plan.count),
        False,
        0,
        tuple(names),
        teacher.identity,
        "5a" * 32,
        "b0" * 32,
        0.71,
    )
    write_manifest(data / "transfer/manifest.json", transfer)
    student = StudentCard(
        "lenet5_half",
        plan.shape,
        plan.classes,
        tuple(names),
        47_645,
        190_580,
        "57" * 32,
        591_500,
        transfer.digest,
        teacher.identity,
        None,
        "float32",
    )
    write_manifest(data / "student/student.json", student)


def _variants(plan: Plan, asked: Any) -> list[dict[str, Any]]:
    cost = {"hard": 1.0, "smoothing": 1.0, "noise": 1.0, "kd": 1.0}
    names = ["student", *plan.baselines, *(f"student@{mark}" for mark in plan.checkpoints)]
    for mark in plan.checkpoints:
        cost[f"student@{mark}"] = 1 + float(np.minimum(asked, mark).sum()) / plan.count
    return [
        {
            "name": name,
            "title": TITLES.get(name, f"Student after {name[8:]} queries a pair"),
            "queries_per_sample": cost.get(name, 1 + float(asked.sum()) / plan.count),
            "black_box": name != "kd",
            "seeds": list(range(plan.seeds)),
            "steps": 600,
            "files": [f"variants/{name}/{seed}.safetensors" for seed in range(plan.seeds)],
            "digests": ["57" * 32] * plan.seeds,
        }
        for name in names
    ]


def _history(path: Path, random: Any, variants: list[dict[str, Any]]) -> None:
    lines = ["variant,seed,step,loss,lr"]
    for variant in variants:
        start, floor = (2.3, 0.02) if variant["name"] in ("hard", "augmented") else (1.4, 0.05)
        for seed in variant["seeds"]:
            for step in range(10, 601, 10):
                loss = floor + start * np.exp(-step / 90) * random.normal(1, 0.05)
                lines.append(f"{variant['name']},{seed},{step},{loss:.6f},0.002")
    _write(path, "\n".join(lines) + "\n")


def _evaluation(plan: Plan, folder: Path, random: Any, variants: list[dict[str, Any]], asked: int) -> None:
    tests, classes = plan.tests, plan.classes
    truth = random.integers(0, classes, tests)

    def vary(source: Any, share: float) -> Any:
        return np.where(random.random(tests) < share, source, (source + random.integers(1, classes, tests)) % classes)

    teacher = vary(truth, 0.977)
    told = [
        VariantDecisions(
            variant["name"],
            float(variant["queries_per_sample"]),
            variant["black_box"],
            {seed: vary(truth, LEVELS.get(variant["name"], 0.96)) for seed in variant["seeds"]},
        )
        for variant in variants
    ]
    labels = truth if plan.labelled else None
    decisions = TeacherDecisions.on_all(teacher)
    metrics = build_metrics(
        decisions,
        told,
        labels,
        RunFacts(
            teacher=Size(187_780, 751_120, 2_293_000) if plan.local else Size(),
            student=Size(47_645, 190_580, 591_500),
            student_digest="57" * 32,
            queries_asked=asked,
            queries_per_sample=asked / plan.count,
            transfer_digest="c3" * 32,
        ),
    )
    write_manifest(folder / "metrics.json", metrics)
    write_confusion(folder / "confusion.csv", confusion(teacher, told[0].decisions[0], classes))
    write_accuracy(folder / "accuracy.csv", decisions, told, labels)
    write_curve(folder / "curve.csv", told, labels)
    agrees = told[0].decisions[0] == teacher
    scores = np.where(agrees, 1 - 0.3 * random.random(tests) ** 4, 1 - 0.6 * random.random(tests))
    write_coverage(folder / "coverage.csv", coverage_curve(scores, agrees))


def _save(path: Path, array: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def _dump(path: Path, value: Any) -> None:
    _write(path, json.dumps(value))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
