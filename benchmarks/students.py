"""Student accuracy against queries, for every search and every use of its queries, in one run.

    python -m benchmarks.students --data data --queries 16,111 --seeds 5 --steps 2880 --json FILE --plot FILE.png

All students share architecture, optimiser and number of steps. `--data` is the folder of a finished run: its teacher,
samples and decisions are used, nothing in it is changed. The JSON is written after every student, and what stands in
it is not trained again; searches are kept beside it (FILE.searches/). `bd` closes one bracket a pair, towards the
nearest start sample; `bd_spread` closes many, loosely, towards as many start samples as it can pay.

Uses: `margin` and `inverse` (soft labels from distances), `ties` (decisions and boundary points), `answered` (decisions
and every image asked), `auto` (the rule `db3.soft_labels.recipe`). Beside them: `hard`, `smoothing`, `augmented` at the
same queries, and `kd`, which no black box offers. `validation` is agreement with the teacher on images of the dataset's
training part that are no samples: uses are chosen by it. `accuracy` is the test split's, to report.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.picture import picture
from db3.datasets import open_dataset
from db3.extras import needs
from db3.files import read_array, read_json, write_array, write_json
from db3.images.augmented import augmented_images
from db3.networks import build
from db3.rng import Purpose, permutation
from db3.search import Distances, SearchSettings, search_distances
from db3.search.catalogue import WITH_SURROGATES
from db3.soft_labels import BoundaryPoints, QueriedImages, Recipe, SearchedSamples, build_transfer_set, recipe
from db3.students import baselines
from db3.students.teacher_logits import teacher_logits
from db3.students.variants import Variant, student_variant
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.network import NetworkTeacher
from db3.teachers.adapters.quantised import Quantised
from db3.teachers.base import Teacher
from db3.teachers.decide import decide_all
from db3.teachers.folder import open_network, open_teacher, read_spec
from db3.training.examples import channel_statistics
from db3.training.train import TrainSettings, train
from db3.types import TransferImages

ALGORITHMS = ("bd", "bd_spread", "sign_opt", "hopskipjump", "semicircle", "guided", "auto")
USES = ("margin", "inverse", "boundary_points", "margin_ties", "queried_images", "auto")
PLAIN = ("hard", "smoothing", "augmented", "kd")
_FIELDS = ("distances", "asked", "points", "point_pairs", "queried_images", "queried_decisions", "queried_keys")
_ROWS = 50  # samples searched at once
_SYNTHETIC_QUERIES = 1.5  # queries a sample that surrogates spend on images of their own, see `search_distances`
_VALIDATION = 6000


@dataclass(frozen=True)
class Bench:
    """What every student is compared on."""

    data: Path
    images: np.ndarray[Any, Any]
    decisions: np.ndarray[Any, Any]
    classes: int
    validation: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
    test: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]
    searches: Path
    options: argparse.Namespace


_TICKS = (50, 100, 200, 400, 1000)


def main() -> None:
    options = _options()
    if options.plot:  # known before hours of training, not after
        with needs("bench", "--plot"):
            import matplotlib.figure  # noqa: F401, PLC0415 - no need of it without a picture
    torch.set_num_threads(options.threads)
    bench = _bench(options)
    results = read_json(options.json) if options.json.is_file() else {"runs": []}
    for job, make in _jobs(bench):
        for seed in range(options.seeds):
            key = {**job, "steps": options.steps, "seed": seed}
            if not any(all(run[name] == value for name, value in key.items()) for run in results["runs"]):
                results["runs"].append({**key, **_student(bench, make(), seed)})
                write_json(options.json, results)
        _print(results["runs"], job, options)
    if options.plot:
        _plot(results["runs"], options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.students", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of a finished run")
    parser.add_argument("--queries", default="16,111", help="queries per pair, comma-separated")
    parser.add_argument("--algorithms", default=",".join(ALGORITHMS), help="comma-separated")
    parser.add_argument("--uses", default=",".join((*PLAIN, *USES)), help="comma-separated")
    parser.add_argument("--architecture", default="lenet5_half")
    parser.add_argument("--steps", type=int, default=2880)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--searches", type=Path, help="folder of finished searches; default: FILE.searches")
    parser.add_argument("--root", help="folder of the dataset's files; default: DB3_DATA_ROOT")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    for given, known in ((options.algorithms, ALGORITHMS), (options.uses, (*PLAIN, *USES))):
        unknown = {name for name in given.split(",") if name} - set(known)
        if unknown:
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    return options


def _bench(options: argparse.Namespace) -> Bench:
    data = options.data
    teacher, card = open_teacher(data / "teacher"), read_json(data / "teacher" / "teacher.json")
    dataset = open_dataset(card["dataset"]["name"], options.root)
    train_part, test = dataset.train(), dataset.test()
    samples = read_array(data / "samples" / "index.npy")
    others = np.setdiff1d(np.arange(len(train_part.images)), samples)
    chosen = np.sort(others[np.array(permutation(len(others), 0, Purpose.BENCHMARK, "validation")[:_VALIDATION])])
    validation, tested = np.array(train_part.images[chosen]), np.array(test.images)
    return Bench(
        data,
        np.array(read_array(data / "samples" / "images.npy")),
        np.array(read_array(data / "samples" / "decisions.npy")),
        teacher.spec.classes,
        (validation, decide_all(teacher, validation, 1)),
        (tested, decide_all(teacher, tested, 1), np.array(test.labels)),
        options.searches or options.json.with_suffix(".searches"),
        options,
    )


def _jobs(bench: Bench) -> Iterator[tuple[dict[str, Any], Callable[[], Variant]]]:
    """What identifies a student but for its seed, and how its variant is built when it is needed."""
    wanted = bench.options.uses.split(",")
    for use in ("hard", "smoothing", "kd"):
        if use in wanted:
            yield {"algorithm": "none", "use": use, "budget": 0}, partial(_plain, bench, use)
    for budget in map(int, bench.options.queries.split(",")):
        if "augmented" in wanted:
            count = budget * (bench.classes - 1) * len(bench.images)
            yield {"algorithm": "none", "use": "augmented", "budget": budget}, partial(_augmented, bench, count)
        for algorithm in bench.options.algorithms.split(","):
            for use in (use for use in USES if use in wanted):
                job = {"algorithm": algorithm, "use": use, "budget": budget}
                yield job, partial(_searched, bench, algorithm, budget, use)


def _student(bench: Bench, variant: Variant, seed: int) -> dict[str, Any]:
    options = bench.options
    mean, std = channel_statistics(bench.images)
    shape = bench.images.shape[1:]
    network = build(options.architecture, shape, bench.classes, mean=mean, std=std, seed=seed)
    settings = variant.settings(TrainSettings(steps=options.steps, batch=options.batch, lr=options.lr))
    train(network, variant.examples, settings, seed, groups=variant.groups)
    tested = decide_all(network, bench.test[0], 500)
    return {
        "queries_per_sample": round(variant.queries_per_sample, 3),
        "validation": float((decide_all(network, bench.validation[0], 500) == bench.validation[1]).mean()),
        "agreement": float((tested == bench.test[1]).mean()),
        "accuracy": float((tested == bench.test[2]).mean()),
    }


def _plain(bench: Bench, use: str) -> Variant:
    if use == "hard":
        return baselines.hard(bench.images, bench.decisions)
    if use == "smoothing":
        return baselines.smoothing(bench.images, bench.decisions, bench.classes, 0.1)
    logits = teacher_logits(open_network(bench.data / "teacher"), bench.images)
    return baselines.kd(bench.images, bench.decisions, logits, 8.0)


def _augmented(bench: Bench, count: int) -> Variant:
    made = augmented_images(bench.images, range(count), 0)
    decided = decide_all(open_teacher(bench.data / "teacher"), made, 1)
    everything = np.concatenate([bench.images, made]), np.concatenate([bench.decisions, decided])
    return baselines.augmented(*everything, originals=len(bench.images))


def _searched(bench: Bench, algorithm: str, budget: int, use: str) -> Variant:
    found = _search(bench, algorithm, budget)
    asked = int(found["asked"].sum()) + (
        round(_SYNTHETIC_QUERIES * len(bench.images)) if algorithm in WITH_SURROGATES else 0
    )
    cost = 1 + asked / len(bench.images)
    per_pair = float(found["asked"].mean()) * bench.classes / (bench.classes - 1)
    plans = {
        "margin": recipe(per_pair, points=False, answers=False),
        "inverse": replace(recipe(per_pair, points=False, answers=False), mapping="inverse"),
        "boundary_points": Recipe("hard", 2.0, 1.0, 0.5, 0, 0),
        "margin_ties": Recipe("margin", 2.0, 8.0, 0.5, 0, 0),
        "queried_images": Recipe("hard", 2.0, 1.0, 0, 0, 0.9),
        "auto": recipe(per_pair),
    }
    samples = SearchedSamples(
        bench.images,
        bench.decisions,
        np.array(found["distances"]),
        BoundaryPoints(found["points"], np.array(found["point_pairs"])),
        QueriedImages(
            found["queried_images"],
            np.array(found["queried_decisions"]),
            np.array(found["queried_keys"]),
        ),
    )
    return student_variant(build_transfer_set(samples, plans[use]), cost, name=f"{algorithm}-{use}", title=use)


def _search(bench: Bench, algorithm: str, budget: int) -> dict[str, np.ndarray[Any, Any]]:
    """What `search_distances` found, read from the disk."""
    folder = bench.searches / f"{algorithm}-{budget}"
    if not (folder / f"{_FIELDS[-1]}.npy").is_file():
        begun = time.perf_counter()
        found = _run(bench, algorithm, budget)
        for name in _FIELDS:
            write_array(folder / f"{name}.npy", np.concatenate([getattr(part, name) for part in found]))
        print(f"# {algorithm} at {budget}: {time.perf_counter() - begun:.0f} s", flush=True)
    return {name: read_array(folder / f"{name}.npy") for name in _FIELDS}


def _run(bench: Bench, algorithm: str, budget: int) -> list[Distances]:
    count, every = len(bench.images), bench.classes - 1
    methods = {
        "bd": SearchSettings("bd", budget),
        "bd_spread": SearchSettings("bd", budget, starts=budget, tolerance=0.25),
        "sign_opt": SearchSettings("mbd", budget, cell=1),
        "hopskipjump": SearchSettings("hopskipjump", budget, cell=2),
        "semicircle": SearchSettings("semicircle", budget, cell=2, smoothing=0.05),
        "guided": SearchSettings("guided", budget),
        "auto": SearchSettings("auto", budget),
    }
    method = replace(methods[algorithm], points=every, queried_images=every * budget)
    # Rows apart bound the memory; the primed methods learn from all pairs together.
    size = count if algorithm in WITH_SURROGATES else _ROWS
    parts = [range(start, min(start + size, count)) for start in range(0, count, size)]
    pool, teacher = TransferImages(bench.images, bench.decisions), _teacher(bench.data / "teacher")
    return [search_distances(teacher, pool, part, method) for part in parts]


def _teacher(folder: Path) -> Teacher:
    """The teacher shown 256 levels: images are learnt exactly as they were asked."""
    spec = replace(read_spec(folder), levels=256)
    return Quantised(Batching(NetworkTeacher(open_network(folder), spec)))


def _print(runs: list[dict[str, Any]], job: dict[str, Any], options: argparse.Namespace) -> None:
    rows = _chosen(runs, job, options)
    values = [
        f"{_mean(rows, name):7.2f} ± {_spread(rows, name):4.2f}" for name in ("validation", "agreement", "accuracy")
    ]
    cost = rows[0]["queries_per_sample"]
    print(f"{job['algorithm']:12} {job['use']:12} {cost:8.1f} {'  '.join(values)}  ({len(rows)} seeds)", flush=True)


def _chosen(runs: list[dict[str, Any]], job: dict[str, Any], options: argparse.Namespace) -> list[dict[str, Any]]:
    return [run for run in runs if run["steps"] == options.steps and all(run[name] == job[name] for name in job)]


def _mean(rows: list[dict[str, Any]], name: str) -> float:
    return 100 * float(np.mean([row[name] for row in rows]))


def _spread(rows: list[dict[str, Any]], name: str) -> float:
    return 100 * float(np.std([row[name] for row in rows], ddof=1)) if len(rows) > 1 else 0.0


def _plot(runs: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """One panel per use, one line per algorithm; what needs no search is in every panel."""
    at = [run for run in runs if run["steps"] == options.steps]
    uses = [use for use in USES if any(run["use"] == use for run in at)]
    with picture(options.plot, (3.4 * len(uses), 3.6), layout=None) as figure:
        axes = figure.subplots(1, len(uses), sharex=True, sharey=True, squeeze=False)
        for axis, use in zip(axes[0], uses, strict=True):
            for algorithm in ALGORITHMS:
                _line(axis, [run for run in at if (run["use"], run["algorithm"]) == (use, algorithm)], algorithm, "-")
            _line(axis, [run for run in at if run["use"] == "augmented"], "augmented", "--")
            for name, colour in (("hard", "0.6"), ("smoothing", "0.4"), ("kd", "0.2")):
                rows = [run for run in at if run["use"] == name]
                if rows:
                    axis.axhline(_mean(rows, "accuracy"), color=colour, linewidth=0.8, linestyle=":", label=name)
            axis.set(title=use, xscale="log", xlabel="queries per sample")
            axis.set_xticks(_TICKS, [f"{tick:,}" for tick in _TICKS])
            axis.set_xticks([], minor=True)
            axis.grid(alpha=0.3)
        axes[0][0].set_ylabel("test accuracy, %")
        drawn = {run["algorithm"] for run in at} | {run["use"] for run in at}
        lines, names = axes[0][-1].get_legend_handles_labels()
        kept = [(line, name) for line, name in zip(lines, names, strict=True) if name in drawn]
        figure.tight_layout(rect=(0, 0, 1, 0.9))
        figure.legend(*zip(*kept, strict=True), loc="upper center", ncols=6, fontsize=8, frameon=False)


def _line(axis: Any, rows: list[dict[str, Any]], label: str, style: str) -> None:
    """One colour for an algorithm in every panel; an empty line keeps it in the legend."""
    colour = f"C{ALGORITHMS.index(label)}" if label in ALGORITHMS else "black"
    costs = sorted({row["queries_per_sample"] for row in rows})
    groups = [[row for row in rows if row["queries_per_sample"] == cost] for cost in costs]
    means = [_mean(group, "accuracy") for group in groups]
    spreads = [_spread(group, "accuracy") for group in groups]
    axis.errorbar(
        costs, means, spreads, marker="o", markersize=3, linewidth=1, linestyle=style, color=colour, label=label
    )


if __name__ == "__main__":
    main()
