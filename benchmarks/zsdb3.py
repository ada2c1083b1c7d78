r"""Zero-shot as in the paper: margins and student accuracy against queries, every query counted.

    python -m benchmarks.zsdb3 --teacher DIR --count 500 --iterations 20 --queries 100 --json FILE --picture FILE.png

On a GPU, at what the goal allows (1e8 queries):

    python -m benchmarks.zsdb3 --teacher DIR --device cuda --call-batch 4096 --count 10000 --noise 0 --iterations 40 \
        --queries 200 --bd 20 --steps 5000 --seeds 5 --json FILE

One run keeps its samples after every `--every` iterations, so the whole curve is paid for once. Students: `hard`
(decisions) of every state; `margin` and `inverse` (labels from BD between the samples, whose queries are counted on
top) of the first and the last; and `source`, bare decisions on as many images of the fallback as the pseudo samples
cost queries (`--control` at most): what the same queries buy without any search. Accuracy is the test split's, and
nothing is selected by it. The white-box margin needs the teacher's gradients and is for comparison alone: it is the
smallest perturbation that changes the decision, where a search's margin is the smallest that it found.

The teacher is a folder (`--teacher`), else LeNet5 trained here.
"""

import argparse
import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.whitebox import WhiteBox
from db3.datasets import Dataset, open_dataset
from db3.digest import digest_arrays
from db3.files import whole_file, write_json
from db3.networks import build
from db3.pixels import to_bytes, to_floats
from db3.progress import Progress, show_progress
from db3.report.pseudo import Snapshots, mosaic
from db3.rng import Purpose, uniform
from db3.search import SearchSettings, TransferImages, search_distances
from db3.search.methods.untargeted import Descent
from db3.search.minimal_perturbation import Steps, minimal_perturbation
from db3.search.starts import nearest_starts
from db3.soft_labels import Recipe, SearchedSamples, build_transfer_set
from db3.students import baselines
from db3.students.variants import Variant, student_variant
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.network import NetworkTeacher
from db3.teachers.base import ImageShape, TeacherSpec
from db3.teachers.budget import Budget
from db3.teachers.decide import decide_all
from db3.teachers.folder import open_network, read_spec
from db3.teachers.train import train_teacher
from db3.training.examples import channel_statistics
from db3.training.train import TrainSettings, train
from db3.zero_shot.moves import Moves
from db3.zero_shot.start_images import check_starts, find_starts
from db3.zero_shot.zsdb3 import PseudoSamples, Zsdb3, move, pseudo_samples

_SCALES = (2, 3, 4, 6, 8, 14, 28)
_MEASURED = 100  # samples whose white-box margin is measured
_ROWS = 500  # samples whose distances are searched at once
_SEARCH = Steps(60, size=(0.5, 0.01))


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    dataset = open_dataset(options.dataset, options.root)
    network, spec = _network(dataset, options)
    teacher = Budget(Batching(NetworkTeacher(network, spec, options.device)))
    test = dataset.test()
    truth = decide_all(Batching(NetworkTeacher(network, spec, options.device)), np.array(test.images), 1)
    result: dict[str, Any] = {
        "samples": "zsdb3",
        "teacher": {"identity": spec.identity, "accuracy": float((truth == test.labels).mean())},
        "options": {key: value for key, value in vars(options).items() if not isinstance(value, Path)},
        "students": {},
    }

    begun = time.perf_counter()
    made = _samples(teacher, options)
    result["queries"] = {**made.queries, "asked": teacher.costs.asked}
    result["seconds"] = round(time.perf_counter() - begun, 1)
    result["curve"] = _curve(made, network, spec.input_shape)
    _print_curve(result)
    if options.picture:
        _picture(made, options.picture)
    if options.json:
        write_json(options.json, result)
    for name, queries, variant in _variants(teacher, made, options) if options.seeds else ():
        result["students"][name] = _students(
            variant, spec, options, (np.array(test.images), truth, np.array(test.labels))
        )
        result["students"][name]["queries"] = queries
        _print_student(name, result["students"][name])
        if options.json:
            write_json(options.json, result)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.zsdb3", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--teacher", type=Path, help="folder of a local teacher; default: one is trained here")
    parser.add_argument("--teacher-steps", type=int, default=2000)
    parser.add_argument("--dataset", default="mnist", help="of the test split, and of the teacher's training")
    parser.add_argument("--root", help="folder of the dataset's files; default: DB3_DATA_ROOT")
    parser.add_argument("--count", type=int, default=500, help="pseudo samples")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--queries", type=int, default=100, help="of one search of one sample")
    parser.add_argument("--budget", type=int, help="queries in all; default: what the others need")
    parser.add_argument("--noise", type=int, default=2000, help="start images among noise, at most")
    parser.add_argument("--step", type=float, default=0.5, help="length of a move")
    parser.add_argument("--directions", type=int, default=20, help="random directions of one estimate")
    parser.add_argument("--cell", type=int, default=2, help="random directions are constant over such cells of pixels")
    parser.add_argument("--every", type=int, default=5, help="iterations from one state of the curve to the next")
    parser.add_argument("--bd", type=int, default=20, help="queries per pair for labels; 0: none")
    parser.add_argument("--control", type=int, default=25_000, help="images of `source` at most; 0: none")
    parser.add_argument("--architecture", default="lenet5_half")
    parser.add_argument("--steps", type=int, default=1440)
    parser.add_argument("--seeds", type=int, default=2, help="students of each kind; 0: margins alone")
    parser.add_argument("--seed", type=int, default=0, help="of the samples")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--call-batch", type=int, help="rows of a call; default: the teacher's own")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, help="write the samples' states here, as PNG")
    return parser.parse_args()


def _network(dataset: Dataset, options: argparse.Namespace) -> tuple[nn.Module, TeacherSpec]:
    if options.teacher:
        network, spec = open_network(options.teacher), read_spec(options.teacher)
        return network, replace(spec, max_batch=options.call_batch or spec.max_batch)
    part = dataset.train()
    classes = len(dataset.class_names)
    settings = TrainSettings(steps=options.teacher_steps)
    network, _ = train_teacher("lenet5", part.images, np.array(part.labels), classes, settings, seed=1)
    identity = digest_arrays({name: value.numpy() for name, value in network.state_dict().items()})
    return network, TeacherSpec(dataset.image_shape, (0.0, 1.0), classes, options.call_batch or 256, identity)


def _samples(teacher: Budget, options: argparse.Namespace) -> PseudoSamples:
    moves = Moves(
        options.iterations,
        options.queries,
        step=options.step,
        descent=Descent(directions=options.directions, cell=options.cell),
    )
    maximum = options.iterations * (options.queries + 1 + moves.halvings) + options.noise // options.count + 1
    settings = Zsdb3(
        count=options.count,
        budget=options.budget or options.count * (maximum + 20),
        noise=options.noise,
        moves=moves,
        pictured=options.count,  # every state of every sample: the curve
        every=options.every,
        seed=options.seed,
    )
    source = partial(smooth_noise, teacher.spec.input_shape, seed=options.seed)
    show_progress()
    with Progress("zsdb3", None, "queries") as progress:
        starts = find_starts(teacher, settings.count, settings.limits(True), settings.seed, source, progress.advance)
        check_starts(starts, settings.missing)
        rows = range(len(starts.images))
        moved = move(teacher, starts, rows, settings, options.device, progress.advance)
    return pseudo_samples(starts, [moved], settings)


def smooth_noise(shape: ImageShape, numbers: Sequence[int], seed: int) -> np.ndarray[Any, Any]:
    """A stand-in for a prior: noise of several scales with a random threshold and gain, every second image windowed."""
    channels, height, width = shape
    number = torch.tensor(numbers, dtype=torch.int64)
    zero = torch.zeros_like(number)
    counts = [channels * side * side for side in _SCALES]
    drawn = uniform(seed, Purpose.BENCHMARK, number, zero, zero, sum(counts) + 2 * len(_SCALES) + 6)
    *grids, normal, rest = torch.split(drawn, [*counts, 2 * len(_SCALES), 6], dim=1)
    normal = (-2 * (1 - normal[:, ::2]).log()).sqrt() * (2 * torch.pi * normal[:, 1::2]).cos()
    weights = (1.5 * normal).softmax(dim=1)
    images = torch.zeros(len(numbers), *shape)
    for place, (side, grid) in enumerate(zip(_SCALES, grids, strict=True)):
        grown = nn.functional.interpolate(grid.view(-1, channels, side, side), (height, width), mode="bicubic")
        images += weights[:, place, None, None, None] * grown
    images -= images.mean(dim=(1, 2, 3), keepdim=True)
    images /= images.flatten(1).std(dim=1).clamp(min=1e-6)[:, None, None, None]
    images = torch.sigmoid(20 ** rest[:, 0, None, None, None] * (images - (4 * rest[:, 1, None, None, None] - 2)))
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    top, left, tall, broad = (value[:, None, None] for value in rest[:, 2:].unbind(dim=1))
    radius = ((y - 0.4 * top + 0.2) / (0.3 + 0.7 * tall)) ** 2 + ((x - 0.4 * left + 0.2) / (0.3 + 0.7 * broad)) ** 2
    window = torch.sigmoid(6 * (1 - radius))[:, None]
    images = torch.where((number % 2 == 1)[:, None, None, None], images * window, images)
    made: np.ndarray[Any, Any] = to_bytes(images).numpy()
    return made


def _curve(made: PseudoSamples, network: nn.Module, shape: ImageShape) -> list[dict[str, Any]]:
    """Every state: queries so far, the margin that the next search found, and the white-box one."""
    rows = []
    for state, iteration in enumerate(made.snapshot_iterations):
        found = made.margins[iteration] if iteration < len(made.margins) else None
        box = whitebox_margin(network, shape, made.snapshots[state][:_MEASURED], made.decisions[:_MEASURED])
        rows.append(
            {
                "iteration": iteration,
                "queries": made.snapshot_queries[state],
                "found": None if found is None else float(found.mean()),
                "whitebox": float(box.mean()),
                "whitebox_median": float(np.median(box)),
            }
        )
    return rows


def whitebox_margin(
    network: nn.Module, shape: ImageShape, images: np.ndarray[Any, Any], decisions: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Smallest perturbation that changes the decision, by the network's gradients, from three start images each."""
    box = WhiteBox(copy.deepcopy(network).cpu(), shape)

    def margin(pixels: torch.Tensor, own: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        value, gradient = box.margin(pixels, own)
        return -value, -gradient

    classes = int(decisions.max()) + 1
    index, distances = nearest_starts(images, images, decisions, classes, 1)
    distances[np.arange(len(images)), decisions] = np.inf
    order = np.take_along_axis(index[..., 0], distances[..., 0].argsort(axis=1)[:, : min(3, classes - 1)], axis=1)
    flat, own = to_floats(images).flatten(1), torch.from_numpy(decisions)
    best = torch.full((len(images),), torch.inf)
    for start in torch.from_numpy(order).unbind(dim=1):
        best = torch.minimum(best, minimal_perturbation(margin, flat, own, _SEARCH, start=flat[start])[1])
    nearest: np.ndarray[Any, Any] = best.numpy()
    return nearest


def _variants(teacher: Budget, made: PseudoSamples, options: argparse.Namespace) -> Iterator[tuple[str, int, Variant]]:
    """Name, queries in all, and what the student learns from."""
    ends = (0, len(made.snapshot_iterations) - 1)
    for state, iteration in enumerate(made.snapshot_iterations):
        images, asked = made.snapshots[state], made.snapshot_queries[state]
        yield f"hard@{iteration}", asked, baselines.hard(images, made.decisions)
        if not options.bd or state not in ends:
            continue
        found, queries = _distances(teacher, TransferImages(images, made.decisions), options.bd)
        for mapping in ("margin", "inverse"):
            how = Recipe(mapping, 2.0, 8.0, 0, 0, 0)
            yield (
                f"{mapping}@{iteration}",
                asked + queries,
                student_variant(build_transfer_set(found, how), 1, name=mapping, title=mapping),
            )
    if options.control:
        count = min(options.control, sum(made.queries.values()))
        images = smooth_noise(teacher.spec.input_shape, range(count), options.seed)
        yield f"source {count}", count, baselines.hard(images, decide_all(teacher, images, 1))


def _distances(teacher: Budget, pool: TransferImages, budget: int) -> tuple[SearchedSamples, int]:
    """BD between the samples, and its queries."""
    before, count = teacher.costs.asked, len(pool.decisions)
    parts = [range(start, min(start + _ROWS, count)) for start in range(0, count, _ROWS)]
    found = [search_distances(teacher, pool, part, SearchSettings("bd", budget)).distances for part in parts]
    return SearchedSamples(pool.images, pool.decisions, np.concatenate(found)), teacher.costs.asked - before


def _students(variant: Variant, spec: TeacherSpec, options: argparse.Namespace, test: Sequence[Any]) -> dict[str, Any]:
    runs = [_student(variant, spec, options, test, seed) for seed in range(options.seeds)]
    described = {
        name: {
            "mean": float(np.mean([run[name] for run in runs])),
            "sd": float(np.std([run[name] for run in runs], ddof=1)) if len(runs) > 1 else 0.0,
        }
        for name in ("accuracy", "agreement")
    }
    return {**described, "min_recall": float(np.mean([run["min_recall"] for run in runs]))}


def _student(
    variant: Variant, spec: TeacherSpec, options: argparse.Namespace, test: Sequence[Any], seed: int
) -> dict[str, float]:
    images, truth, labels = test
    mean, std = channel_statistics(variant.examples.images)
    network = build(options.architecture, spec.input_shape, spec.classes, mean=mean, std=std, seed=seed)
    settings = variant.settings(TrainSettings(steps=options.steps))
    train(network, variant.examples, settings, seed, device=options.device)
    decided = decide_all(network, images, 500)
    recalls = [float((decided[labels == k] == k).mean()) for k in np.unique(labels)]
    return {
        "accuracy": float((decided == labels).mean()),
        "agreement": float((decided == truth).mean()),
        "min_recall": min(recalls),
    }


def _print_curve(result: dict[str, Any]) -> None:
    queries = ", ".join(f"{name} {count:,}" for name, count in result["queries"].items())
    print(f"teacher {100 * result['teacher']['accuracy']:.2f} %; queries: {queries}; {result['seconds']} s")
    print(f"{'iterations':>10} {'queries':>12} {'margin found':>13} {'white-box':>10} {'median':>8}")
    for row in result["curve"]:
        found = "" if row["found"] is None else f"{row['found']:.2f}"
        line = f"{row['iteration']:10} {row['queries']:12,} {found:>13} {row['whitebox']:10.2f}"
        print(f"{line} {row['whitebox_median']:8.2f}", flush=True)


def _print_student(name: str, row: dict[str, Any]) -> None:
    values = "  ".join(
        f"{key} {100 * row[key]['mean']:.2f} ± {100 * row[key]['sd']:.2f}" for key in ("accuracy", "agreement")
    )
    print(f"{name:14} {row['queries']:12,} {values}  least recall {100 * row['min_recall']:.1f}", flush=True)


def _picture(made: PseudoSamples, path: Path) -> None:
    shown = Snapshots(made.snapshots, made.decisions[made.pictured], made.snapshot_iterations, made.snapshot_queries)
    picture = mosaic(shown, [int(k) for k in np.unique(made.decisions)], range(len(made.snapshot_iterations)), 3)
    with whole_file(path) as file:
        picture.resize((2 * picture.width, 2 * picture.height), 0).save(file, format="PNG", optimize=True)


if __name__ == "__main__":
    main()
