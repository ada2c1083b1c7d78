"""Students from a teacher's decisions on made images, at a budget of queries.

    python -m benchmarks.zero_shot --dataset mnist --queries 25000 --seeds 2 --json FILE
    python -m benchmarks.zero_shot --dataset mnist --samples augmented --real 1000 --queries 25000 --json FILE

`--samples priors` sees no real image and no statistic of one; `augmented` begins with `--real` training images, drawn
without a look at a label; `generator` trains one against students after the first prior images, `generator_alone`
without these. Several budgets, comma-separated, give the curve; several students learn from the same images. A seed
decides images, choices, teacher assistants and student; `--seed` is the first of them. With `--arithmetic float32` or
`bfloat16` surrogates, teacher assistants and student are trained several times faster, and to the same bytes on the
same kind of machine only. `--searched SHARE` spends a share of the budget on boundary searches from some of the images
(`auto`, 8 queries a pair), whose every asked image is learnt as a decided one. `validation` is agreement with the
teacher on synthetic images asked for that purpose alone and counted apart (`queries.validation`): settings are chosen
by it. The test split is looked at once a student, to report. With no `--teacher` one is trained on the dataset's
training part.
"""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import nn

from benchmarks.generator import gather_generated
from benchmarks.writable import require_writable
from db3.datasets import Dataset, open_dataset
from db3.datasets.subset import draw_samples
from db3.errors import Db3Error
from db3.files import read_json, write_json
from db3.networks import build, count_parameters
from db3.search import SearchSettings, search_distances
from db3.settings.training import Arithmetic, AssistantSettings, AugmentationName, OwnChanges
from db3.students.assistants import assisted, beside
from db3.students.choices import choose_steps
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.network import NetworkTeacher
from db3.teachers.adapters.quantised import Quantised
from db3.teachers.base import TeacherSpec
from db3.teachers.budget import Budget
from db3.teachers.decide import decide_all
from db3.teachers.folder import open_teacher
from db3.teachers.train import train_teacher
from db3.training.examples import Examples, Group, network_for
from db3.training.train import TrainSettings, train
from db3.types import TransferImages
from db3.zero_shot.rounds import SOURCES, Gathered, RoundSettings, gather

_VALIDATION_SEED = 1_000_003
_PER_PAIR, _SYNTHETIC_QUERIES = 8, 1.5  # queries of a boundary search: for each pair, and a sample before it
_TEACHERS = {1: ("lenet5", 4000, "warp"), 3: ("compact", 4000, "crop_flip")}  # by channels: architecture, steps


@dataclass(frozen=True)
class Bench:
    """What every student is compared on."""

    teacher: Budget
    dataset: Dataset
    test: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]
    validation: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
    options: argparse.Namespace


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    try:
        _run(options)
    except Db3Error as error:
        raise SystemExit(f"error: {error}") from None


def _run(options: argparse.Namespace) -> None:
    require_writable(options.json)
    _plan(options, options.steps or 1), _assistants(options), _settings(options)  # what is out of range is told now
    results: dict[str, Any] = read_json(options.json) if options.json.is_file() else {"runs": []}
    budgets, students = [int(text) for text in options.queries.split(",")], options.student.split(",")
    bench = _bench(options, students)
    results["teacher"] = {"accuracy": float((bench.test[1] == bench.test[2]).mean())}
    print(f"teacher's accuracy {100 * results['teacher']['accuracy']:.2f}", flush=True)
    for budget in budgets:
        for seed in range(options.seed, options.seed + options.seeds):
            keys = [_key(options, student, budget, seed) for student in students]
            missing = [key for key in keys if not any(_is_of(run, key) for run in results["runs"])]
            for key, run in zip(missing, _runs(bench, [key["student"] for key in missing], budget, seed), strict=True):
                results["runs"].append({**key, **run})
                write_json(options.json, results)
        for student in students:
            summary = _summary(results["runs"], options, student, budget)
            results.update(summary)
            results.setdefault("curve", {})[f"{options.samples}@{budget} {student}"] = summary
            write_json(options.json, results)
            _print(summary)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.zero_shot", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--root", help="folder of the dataset's files; default: DB3_DATA_ROOT")
    parser.add_argument("--teacher", type=Path, help="folder of a local teacher; default: train one")
    parser.add_argument("--samples", default="priors", choices=("priors", "augmented", "generator", "generator_alone"))
    parser.add_argument("--real", type=int, default=1000, help="augmented: real images to begin with")
    parser.add_argument("--queries", default="25000", help="budgets, comma-separated")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--student", default="lenet5_half", help="architectures, comma-separated")
    parser.add_argument("--steps", type=int, help="of the student; default: by the queries")
    parser.add_argument(
        "--assistants",
        type=int,
        default=2,
        help="networks that label unasked images for the student",
    )
    parser.add_argument("--assistant", default="auto", help="architecture of the teacher assistants")
    parser.add_argument("--assistant-steps", type=int, default=AssistantSettings().steps)
    parser.add_argument("--augment", default="none", choices=get_args(AugmentationName), help="of the student's images")
    parser.add_argument("--mix", type=float, default=0.0, help="share of the student's batches that are mixed")
    parser.add_argument("--assistant-augment", default="auto", choices=("auto", *get_args(AugmentationName)))
    parser.add_argument("--assistant-mix", type=float, help="share of their batches that are mixed; default: auto")
    parser.add_argument("--unasked", type=int, default=AssistantSettings().images, help="images that they label")
    parser.add_argument("--surrogate", default=RoundSettings().architecture, help="architecture of the rounds' network")
    parser.add_argument("--arithmetic", default="exact", choices=get_args(Arithmetic))
    parser.add_argument("--rounds", type=int, default=RoundSettings().count)
    parser.add_argument("--searched", type=float, default=0.0, help="share of the budget that boundary searches get")
    parser.add_argument("--fresh", type=float, help="share of prior images; default: by the number of real images")
    parser.add_argument("--validation", type=int, default=0, help="queries spent on a validation set")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "1")))
    parser.add_argument("--json", type=Path, required=True)
    return parser.parse_args()


def _bench(options: argparse.Namespace, students: Sequence[str]) -> Bench:
    dataset = open_dataset(options.dataset, options.root)
    for architecture in {*students, options.surrogate, options.assistant} - {"auto"}:
        build(architecture, dataset.image_shape, len(dataset.class_names), seed=None)  # a wrong name is told now
    teacher = open_teacher(options.teacher) if options.teacher else _trained(dataset)
    test = dataset.test()
    images, labels = np.array(test.images), np.array(test.labels)
    decided = decide_all(teacher, images, 256)
    validation = np.empty((0, *dataset.image_shape), np.uint8), np.empty(0, np.int64)
    if options.validation:
        kept = gather(teacher, options.validation, seed=_VALIDATION_SEED)
        later = kept.rounds > 0  # balanced by a surrogate; the first ones are not
        validation = kept.images[later], kept.decisions[later]
    return Bench(teacher, dataset, (images, decided, labels), validation, options)


def _trained(dataset: Dataset) -> Budget:
    part, classes = dataset.train(), len(dataset.class_names)
    architecture, steps, augment = _TEACHERS[dataset.image_shape[0]]
    plan = TrainSettings(steps=min(steps, 40 * len(part.images)), lr=2e-3, augment=augment)
    network, _ = train_teacher(architecture, part.images, np.array(part.labels), classes, plan, seed=0)
    spec = TeacherSpec(dataset.image_shape, (0.0, 1.0), classes, 256, "trained for this benchmark")
    return Budget(Batching(NetworkTeacher(network, spec)))


def _runs(bench: Bench, students: Sequence[str], budget: int, seed: int) -> Iterator[dict[str, Any]]:
    """What becomes of each of the students; they learn from the same images."""
    if not students:
        return
    options, spec = bench.options, bench.teacher.spec
    begun, cpu, asked = time.perf_counter(), time.process_time(), bench.teacher.costs.asked
    found = _gathered(bench, round(budget * (1 - options.searched)), seed)
    groups: Sequence[Group] = _searched(bench, found, budget - found.asked, seed) if options.searched else []
    queries, gathering = bench.teacher.costs.asked - asked, time.process_time() - cpu
    samples = {
        "asked": queries,
        "missing": list(found.missing),
        "foretold": list(found.foretold),
        "decided": np.bincount(found.decisions, minlength=spec.classes).tolist(),
        "sources": dict(zip(SOURCES, np.bincount(found.sources, minlength=len(SOURCES)).tolist(), strict=True)),
        "gather_cpu_seconds": gathering,
    }
    steps = options.steps or choose_steps(queries, assisted=bool(options.assistants))
    plan = _plan(options, steps)
    if options.assistants:
        groups = _assisted(found, groups, spec.classes, options, plan, seed)
    before, cpu_before = time.perf_counter() - begun, time.process_time() - cpu
    for architecture in students:
        begun, cpu = time.perf_counter(), time.process_time()
        student = network_for(architecture, found.images, spec.classes, seed)
        train(student, Examples(found.images, found.decisions), plan, seed, groups=groups)
        yield {
            **samples,
            "seconds": before + time.perf_counter() - begun,
            "cpu_seconds": cpu_before + time.process_time() - cpu,
            "student_parameters": count_parameters(student),
            **_measured(bench, student),
        }


def _plan(options: argparse.Namespace, steps: int) -> TrainSettings:
    """How students are trained."""
    how = {"augment": options.augment, "mix": options.mix, "arithmetic": options.arithmetic}
    return TrainSettings(steps=steps, balance=0.5, **how)


def _assistants(options: argparse.Namespace) -> AssistantSettings:
    mix = "auto" if options.assistant_mix is None else options.assistant_mix
    return AssistantSettings(
        networks=options.assistants,
        architecture=options.assistant,
        steps=options.assistant_steps,
        changes=OwnChanges(options.assistant_augment, mix),
        images=options.unasked,
    )


def _measured(bench: Bench, student: nn.Module) -> dict[str, Any]:
    """The student beside labels and teacher on the test split, and beside the teacher on the validation images."""
    images, decided, labels = bench.test
    tested = decide_all(student, images, 500)
    held, answers = bench.validation
    return {
        "accuracy": float((tested == labels).mean()),
        "agreement": float((tested == decided).mean()),
        "recalls": [float((tested[labels == k] == k).mean()) for k in np.unique(labels)],
        "validated": float((decide_all(student, held, 500) == answers).mean()) if len(held) else None,
    }


def _gathered(bench: Bench, budget: int, seed: int) -> Gathered:
    options, spec, ask = bench.options, bench.teacher.spec, partial(decide_all, bench.teacher, batch=256)
    if options.samples.startswith("generator"):
        first = 0.0 if options.samples == "generator_alone" else RoundSettings().first
        return gather_generated(ask, spec.input_shape, spec.classes, budget, seed=seed, first=first)
    return gather(bench.teacher, budget, _settings(options), seed=seed, real=_real(bench, seed))


def _settings(options: argparse.Namespace) -> RoundSettings:
    settings = RoundSettings(count=options.rounds, architecture=options.surrogate, arithmetic=options.arithmetic)
    return settings if options.fresh is None else replace(settings, fresh=options.fresh)


def _real(bench: Bench, seed: int) -> np.ndarray[Any, Any] | None:
    if bench.options.samples != "augmented":
        return None
    images = bench.dataset.train().images
    return np.array(images[draw_samples(len(images), bench.options.real, seed)])


def _searched(bench: Bench, found: Gathered, left: int, seed: int) -> list[Group]:
    """Every image that boundary searches from some of the images asked; a batch holds its share of them all."""
    spec = replace(bench.teacher.spec, levels=256)  # what is learnt is what was asked
    count = int(left / ((spec.classes - 1) * _PER_PAIR + _SYNTHETIC_QUERIES))
    rows = draw_samples(len(found.images), count, seed)
    pool = TransferImages(found.images[rows], found.decisions[rows])
    method = SearchSettings("auto", _PER_PAIR, seed=seed, queried_images=(spec.classes - 1) * _PER_PAIR)
    asked = search_distances(Quantised(_Levels(bench.teacher, spec)), pool, range(count), method)
    decided = Examples(asked.queried_images, asked.queried_decisions)
    return [Group("queried_images", decided, len(decided.images) / (len(decided.images) + len(found.images)), 1.0, 0.0)]


@dataclass(frozen=True)
class _Levels:
    """A teacher that is said to see so many levels."""

    teacher: Budget
    spec: TeacherSpec

    def decide(self, images: torch.Tensor) -> torch.Tensor:
        return self.teacher.decide(images)


def _assisted(
    found: Gathered,
    groups: Sequence[Group],
    classes: int,
    options: argparse.Namespace,
    plan: TrainSettings,
    seed: int,
) -> Sequence[Group]:
    """The groups with what teacher assistants make of images that were never asked."""
    settings = _assistants(options)
    decided = [Examples(found.images, found.decisions), *(group.examples for group in groups)]
    images, decisions = (np.concatenate([getattr(one, name) for one in decided]) for name in ("images", "decisions"))
    return beside(groups, assisted(images, decisions, classes, settings, plan, seed), settings)


def _key(options: argparse.Namespace, student: str, budget: int, seed: int) -> dict[str, Any]:
    names = (
        *("dataset", "samples", "steps", "assistants", "assistant"),
        *("assistant_steps", "assistant_augment", "assistant_mix", "unasked"),
        *("rounds", "surrogate", "fresh", "searched", "validation", "arithmetic", "augment", "mix"),
    )
    real = options.real if options.samples == "augmented" else 0
    own = {"student": student, "real": real, "budget": budget, "seed": seed}
    return {**{name: getattr(options, name) for name in names}, **own}


def _is_of(run: dict[str, Any], key: dict[str, Any]) -> bool:
    return all(run.get(name) == value for name, value in key.items())


def _summary(runs: list[dict[str, Any]], options: argparse.Namespace, student: str, budget: int) -> dict[str, Any]:
    keys = [_key(options, student, budget, seed) for seed in range(options.seed, options.seed + options.seeds)]
    rows = [run for run in runs if any(_is_of(run, key) for key in keys)]
    accuracy = [row["accuracy"] for row in rows]
    return {
        "samples": options.samples,
        "accuracy": {"mean": float(np.mean(accuracy)), "sd": float(np.std(accuracy, ddof=1)) if len(rows) > 1 else 0.0},
        "agreement": {"mean": float(np.mean([row["agreement"] for row in rows]))},
        "validation": float(np.mean([row["validated"] for row in rows])) if options.validation else None,
        "min_recall": min(min(row["recalls"]) for row in rows),
        "recalls": np.mean([row["recalls"] for row in rows], axis=0).tolist(),
        "queries": {"asked": max(row["asked"] for row in rows), "validation": options.validation},
        "student": {"architecture": student, "parameters": rows[0]["student_parameters"]},
        "seconds": float(np.mean([row["seconds"] for row in rows])),
        "cpu_seconds": float(np.mean([row["cpu_seconds"] for row in rows])),
        "seeds": len(rows),
    }


def _print(summary: dict[str, Any]) -> None:
    accuracy, told = summary["accuracy"], f"{summary['samples']} {summary['student']['architecture']}"
    print(
        f"{told:24}{summary['queries']['asked']:9,} queries  accuracy {100 * accuracy['mean']:.2f} ± "
        f"{100 * accuracy['sd']:.2f}  agreement {100 * summary['agreement']['mean']:.2f}  "
        f"least recall {100 * summary['min_recall']:.1f}  {summary['cpu_seconds']:.0f} s of CPU"
        f"  ({summary['seeds']} seeds)",
        flush=True,
    )
    print("  recall by class: " + " ".join(f"{100 * recall:.1f}" for recall in summary["recalls"]), flush=True)


if __name__ == "__main__":
    main()
