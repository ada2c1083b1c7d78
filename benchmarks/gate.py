"""Is a gate's promise kept, does a certified interval hold, and does drift raise the alarm? docs/guides/gate.md

    python -m benchmarks.gate --json FILE                                  models of scores, no data
    python -m benchmarks.gate --dataset mnist --root DIR --json FILE       a student of 100 images and 6,000 queries
    python -m benchmarks.gate --dataset image_folder --root DIR --onnx FILE --samples 20000 --queries 20000 \
        --student compact --json FILE                                      a teacher from elsewhere

A population is a long list of scores and whether teacher and student agree; of real data it is the test split, which
neither learnt from. Each of 1,000 splits draws its held-out images from the population, chooses a gate, and is
*missed* if fewer than promised agree among the images of the whole population that the gate answers. Of 1,000 splits
at confidence 0.95 at most 50 may be, but for chance. Refused splits answer nothing and miss nothing.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from db3.datasets import Dataset, open_dataset
from db3.datasets.subset import draw_samples
from db3.errors import Db3Error
from db3.evaluation.certified import certify_agreement, choose_questions
from db3.files import write_json
from db3.gate.calibration import calibrated, calibration_error, fit_temperature
from db3.gate.choose import choose_gate
from db3.gate.curve import coverage_curve
from db3.gate.scores import student_probabilities, sureness
from db3.gate.watch import Watch
from db3.networks import build
from db3.rng import Purpose, derived_seed
from db3.teachers import Batching, NetworkTeacher, Teacher
from db3.teachers.adapters.onnx import OnnxTeacher
from db3.teachers.base import TeacherSpec
from db3.teachers.decide import decide_all
from db3.training.examples import Examples
from db3.training.train import TrainSettings, train
from db3.zero_shot.rounds import RoundSettings, gather

Array = np.ndarray[Any, Any]
_MANY = 200_000  # images of a made population
_POOL = 10_000  # images that questions are chosen from


@dataclass(frozen=True)
class Population:
    """Scores, and whether the teacher agrees; of real data also the scores under shifts of the images."""

    name: str
    scores: Array
    agrees: Array
    shifted: dict[str, Array]


# Share of disagreements at a score's rank u (0: the least sure, 1: the surest).
MODELS: dict[str, Callable[[Array], Array]] = {
    "98.5 % agree": lambda u: 0.25 * np.exp(-18 * u) + 0.001,
    "93 % agree": lambda u: 0.5 * np.exp(-7.5 * u) + 0.0015,
    "82 % agree": lambda u: 0.65 * np.exp(-3.5 * u) + 0.0001,
    "scores that tell nothing": lambda u: np.full_like(u, 0.0099),
    "surest are worse": lambda u: 0.004 + 0.03 * (u > 0.8),
}


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    populations = [_real(options)] if options.dataset else [_model(name) for name in MODELS]
    results = {}
    for population in populations:
        print(f"\n{population.name}: {population.agrees.mean():.2%} agree")
        results[population.name] = {
            "agreement": float(population.agrees.mean()),
            "gates": [_gates(population, promise, held_out, options) for promise, held_out in _plans(options)],
            "intervals": [_intervals(population, asked, options) for asked in options.asked],
            "drift": _drift(population, options),
            "curve": [vars(point) for point in coverage_curve(population.scores, population.agrees, 20)],
        }
    write_json(options.json, results)


def _plans(options: argparse.Namespace) -> list[tuple[float, int]]:
    return [(promise, held_out) for promise in options.promises for held_out in options.held_out]


def _model(name: str) -> Population:
    random = np.random.default_rng(derived_seed(0, Purpose.BENCHMARK, name))
    ranks = random.random(_MANY)
    wrong = MODELS[name](ranks)
    agrees = random.random(_MANY) >= wrong
    # A score that says what happens, as far as the model allows, and rises with the rank.
    scores = np.clip(1 - MODELS["93 % agree"](ranks), 0, 1) if "tell" in name or "worse" in name else 1 - wrong
    return Population(name, scores, agrees, {"half as sure": scores * 0.5, "a little less sure": scores**1.2})


def _gates(population: Population, promise: float, held_out: int, options: argparse.Namespace) -> dict[str, Any]:
    random = np.random.default_rng(derived_seed(0, Purpose.BENCHMARK, population.name, held_out))
    missed, refused, coverage = 0, 0, []
    order = np.argsort(-population.scores, kind="stable")
    ranked, right = -population.scores[order], np.cumsum(population.agrees[order])
    for _ in range(options.splits):
        rows = random.integers(0, len(population.scores), held_out)
        try:
            gate = choose_gate(population.scores[rows], population.agrees[rows], promise)
        except Db3Error:
            refused += 1
            coverage.append(0.0)
            continue
        answered = int(np.searchsorted(ranked, -gate.threshold, side="right"))
        missed += bool(right[answered - 1] / answered < promise)
        coverage.append(answered / len(ranked))
    best = np.flatnonzero(right >= promise * np.arange(1, len(right) + 1))
    row = {
        "promise": promise,
        "held_out": held_out,
        "missed": missed / options.splits,
        "refused": refused / options.splits,
        "coverage": float(np.mean(coverage)),
        "possible": float((best[-1] + 1) / len(right)) if len(best) else 0.0,
    }
    print(
        f"  gate {promise:g} from {held_out:6,}: missed {row['missed']:6.1%}  refused {row['refused']:6.1%}  "
        f"answers {row['coverage']:6.1%} of {row['possible']:.1%} possible",
        flush=True,
    )
    return row


def _intervals(population: Population, asked: int, options: argparse.Namespace) -> dict[str, Any]:
    random = np.random.default_rng(derived_seed(0, Purpose.BENCHMARK, population.name, "asked", asked))
    truth = population.agrees.mean()
    widths: dict[str, list[float]] = {}
    held: dict[str, list[bool]] = {}
    for number in range(options.repeats):
        rows = random.integers(0, len(population.scores), _POOL)
        scores, agrees = np.clip(population.scores[rows], 0, 1), population.agrees[rows]
        questions = choose_questions(scores, asked, seed=number)
        for found in (
            certify_agreement(agrees[:asked]),
            certify_agreement(agrees[:asked], scores=scores[:asked], undecided=scores[asked:]),
            certify_agreement(agrees[questions.rows], questions=questions),
        ):
            widths.setdefault(found.method, []).append(found.width)
            held.setdefault(found.method, []).append(bool(found.low <= truth <= found.high))
    row: dict[str, Any] = {"asked": asked}
    for method, values in widths.items():
        row[method] = {"width": float(np.mean(values)), "held": float(np.mean(held[method]))}
    told = "  ".join(f"{name} ±{row[name]['width'] / 2:.2%} held {row[name]['held']:.1%}" for name in widths)
    print(f"  {asked:5,} questions: {told}", flush=True)
    return row


def _drift(population: Population, options: argparse.Namespace) -> dict[str, Any]:
    """False alarms over 2,000 images at a level of 0.01, and the images that it takes after a shift."""
    random = np.random.default_rng(derived_seed(0, Purpose.BENCHMARK, population.name, "drift"))

    def draw(scores: Array, count: int) -> Array:
        return scores[random.integers(0, len(scores), count)]

    alarms = 0
    for number in range(options.watches):
        watch = Watch(draw(population.scores, 1000), 0.01, seed=number)
        watch.see(draw(population.scores, 2000))
        alarms += watch.alarm
    found: dict[str, Any] = {"false_alarms": alarms / options.watches}
    print(f"  drift: {found['false_alarms']:.1%} of quiet watches raise an alarm at 1 %")
    for name, scores in population.shifted.items():
        delays = []
        for number in range(20):
            watch = Watch(draw(population.scores, 1000), 0.01, seed=number)
            watch.see(draw(population.scores, 1000))
            quiet = watch.seen
            watch.see(draw(scores, 3000))
            delays.append(watch.seen - quiet if watch.alarm else 3000)
        found[name] = {"median": float(np.median(delays)), "missed": delays.count(3000) / len(delays)}
        print(
            f"  {name}: alarm after {found[name]['median']:.0f} images, none in {found[name]['missed']:.0%}", flush=True
        )
    return found


def _real(options: argparse.Namespace) -> Population:
    data = open_dataset(options.dataset, options.root)
    teacher, classes = _teacher(data, options), len(data.class_names)
    parts = data.train()
    rows = draw_samples(len(parts.images), options.samples, 0)
    images = np.array(parts.images[rows])
    decisions = decide_all(teacher, images, 64)
    if options.queries > options.samples:
        made = gather(teacher, options.queries, RoundSettings(arithmetic="float32"), real=images)
        images, decisions = made.images, made.decisions
    student = build(options.student, data.image_shape, classes, seed=0)
    train(student, Examples(images, decisions), _plan(options.steps), 0)
    test = np.array(data.test().images)
    asked = decide_all(teacher, test, 64)
    probabilities = student_probabilities(student, test)
    scores, decided = sureness(probabilities)
    agrees = decided == asked
    temperature = fit_temperature(probabilities, asked)
    better = calibrated(probabilities, temperature).max(axis=1)
    errors = [calibration_error(told, agrees.astype(float)) for told in (scores, better)]
    print(f"temperature {temperature:.2f}: calibration error {errors[0]:.2%} before, {errors[1]:.2%} after")
    shifted = {name: sureness(student_probabilities(student, change(test)))[0] for name, change in SHIFTS.items()}
    return Population(options.dataset, scores, agrees, shifted)


def _noisy(images: Array) -> Array:
    random = np.random.default_rng(0)
    return np.clip(images + random.normal(0, 40, images.shape), 0, 255).astype(np.uint8)


SHIFTS: dict[str, Callable[[Array], Array]] = {
    "inverted": lambda images: 255 - images,
    "noisy": _noisy,
    "shifted by three pixels": lambda images: np.roll(images, 3, axis=3),
    "half as bright": lambda images: images // 2,
}


def _teacher(data: Dataset, options: argparse.Namespace) -> Teacher:
    classes = len(data.class_names)
    spec = TeacherSpec(data.image_shape, (0.0, 1.0), classes, 64, "benchmark")
    if options.onnx:
        return Batching(OnnxTeacher(options.onnx, replace(spec, identity=str(options.onnx))))
    network: nn.Module = build("lenet5", data.image_shape, classes, seed=1)
    part = data.train()
    train(network, Examples(part.images, np.asarray(part.labels)), _plan(options.teacher_steps), 1)
    return Batching(NetworkTeacher(network, spec))


def _plan(steps: int) -> TrainSettings:
    return TrainSettings(steps=steps, arithmetic="float32")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.gate", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dataset", help="real images; none: models of scores")
    parser.add_argument("--root", help="folder of the dataset's files; default: DB3_DATA_ROOT")
    parser.add_argument("--onnx", type=Path, help="the teacher; none: a LeNet5 that learns the training split")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--queries", type=int, default=6000)
    parser.add_argument("--student", default="lenet5_half")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--teacher-steps", type=int, default=2000)
    parser.add_argument("--splits", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--watches", type=int, default=100)
    parser.add_argument("--promises", type=float, nargs="+", default=[0.99, 0.95])
    parser.add_argument("--held-out", type=int, nargs="+", default=[500, 2000, 6000])
    parser.add_argument("--asked", type=int, nargs="*", default=[100, 200, 500, 2000])
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "1")))
    parser.add_argument("--json", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
