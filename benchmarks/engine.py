"""Distance against queries for every search, on the same samples, teacher and start samples, in one run.

    python -m benchmarks.engine --pairs 540 --decisions 20000 --budget 1000 --json FILE

Prints a table of mean distance / white-box minimum and writes it as JSON; a file that an earlier run of the same
problem wrote is extended. Every search of our own is run by `db3.search.search_pairs`, as the pipeline runs it: all
classes of every sample; the seconds that surrogates take to be trained are among its seconds, and stand apart too. The
teacher is the local one of `--teacher`, or is trained here on the dataset's training part and kept for the next run;
its scores are seen by the white-box minimum alone. The surrogates are the library's own choice for the images' shape
unless `--surrogates` names others. Samples and start samples are among the decisions that `--decisions` counts.
"""

import argparse
import os
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from torch import nn

from benchmarks.local_teacher import trained_network
from benchmarks.peers import art_hop_skip_jump, foolbox_hop_skip_jump
from benchmarks.plot import plot
from benchmarks.throughput import throughput_share
from benchmarks.whitebox import WhiteBox, whitebox_minimum
from benchmarks.writable import require_writable
from db3.datasets import Dataset, open_dataset
from db3.digest import digest_file
from db3.errors import ConfigError, DataError, Db3Error, unknown_name
from db3.files import read_json, write_json
from db3.networks.fitting import surrogate_architectures
from db3.pixels import to_floats
from db3.progress import Progress
from db3.rng import Purpose, permutation
from db3.search import SearchSettings, TransferImages, search_pairs
from db3.search.ledger import Pairs
from db3.search.starts import nearest_starts
from db3.search.surrogate.surrogate import Surrogate, SurrogateSettings
from db3.settings.training import Arithmetic
from db3.teachers import Batching, NetworkTeacher, Teacher, TeacherSpec
from db3.teachers.decide import decide_all
from db3.teachers.folder import open_network, open_teacher
from db3.work import Pieces, Work, run_here

CHECKPOINTS = (25, 50, 100, 250, 500, 1000, 4000)
OWN = {
    "bd": SearchSettings("bd"),
    "sign_opt": SearchSettings("mbd", cell=1),
    "hopskipjump": SearchSettings("hopskipjump", directions=40, smoothing=0.05, cell=2),
    "semicircle": SearchSettings("semicircle", smoothing=0.05, cell=2),
    "guided": SearchSettings("guided"),
    "auto": SearchSettings("auto"),
}
"""Our searches as measured; budget, checkpoints and seed are those of the run."""
PEERS = {"foolbox": foolbox_hop_skip_jump, "art": art_hop_skip_jump}
_POOL_SHARE = 0.4  # of the surrogates' decisions: `search_distances` asks 1.5 more for each image of the pool
_SHARED = Path("../shared/data")  # of the dataset, where nothing names another folder
_CALL = 256  # images that a teacher trained here decides at a time
_TRAINED = {5000: (1000, 800, 6), 0: (600, 300, 3)}
"""Steps of the surrogates' first training and of later ones, and how many surrogates, by the least number of decisions
they are for."""

_TRAININGS = ("surrogate", "retrain")  # work of `SurrogateSearch` that trains
_MEASURES = ("ratio", "median", "distance", "asked", "below_minimum", "measured_pairs", "seconds", "training")
_SAME = ("teacher", "device", "seed", "pairs", "decisions", "surrogates", "networks", "arithmetic")


class _Measured(NamedTuple):
    """Distance [n, T] known after each number of queries, queries asked per pair, seconds of training."""

    curve: torch.Tensor
    asked: float
    training: float = 0.0


@dataclass(frozen=True)
class Problem:
    """What every algorithm is given.

    Attributes:
        teacher: decides.
        network: the teacher's own, whose scores the white-box minimum sees.
        pool: decided images; the first `samples` of them are searched.
        samples: how many.
        pairs: sample by sample, all other classes in their order: the peers' and the white-box minimum's.
        starts: the two nearest start samples of each pair.
        order: of the pairs, for the peers: they are given the first few.
        minimum: white-box minimum of each pair.
        surrogate: settings of the surrogates.
        seed: of the searches.
    """

    teacher: Teacher
    network: nn.Module
    pool: TransferImages
    samples: int
    pairs: Pairs
    starts: torch.Tensor
    order: torch.Tensor
    minimum: torch.Tensor
    surrogate: SurrogateSettings
    seed: int


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    try:
        _check(options)
        result = _run(options)
    except Db3Error as error:
        raise SystemExit(f"error: {error}") from None
    if options.plot:
        plot(result, options.plot)


def _check(options: argparse.Namespace) -> None:
    """What would fail after minutes of training fails here.

    Raises:
        ConfigError: an unknown algorithm, or a number out of its range.
        DataError: a file cannot be written.
    """
    for name in _algorithms(options):
        if name not in {*OWN, *PEERS}:
            raise unknown_name("algorithm", name, (*OWN, *PEERS))
    for name, least in {"pairs": 1, "decisions": 2, "budget": CHECKPOINTS[0], "threads": 1, "seed": 0}.items():
        if getattr(options, name) < least:
            raise ConfigError(f"--{name} is {getattr(options, name)}; expected {least} or more")
    require_writable(options.json)
    require_writable(options.plot)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    problem = _problem(options)
    checkpoints = [at for at in CHECKPOINTS if at <= options.budget]
    result = _earlier(options.json, _described(problem, options))
    print(f"{len(problem.pairs)} pairs, white-box minimum {result['minimum']:.3f} on average")
    print(f"{'algorithm':14}" + "".join(f"{at:>9}" for at in checkpoints) + f"{'seconds':>9}{'training':>9}")
    for name in _algorithms(options):
        _measure(name, problem, checkpoints, options.peer_pairs, result)
        result["queries_to_paper_4000"] = _queries_to_paper(result)
        if options.json:
            write_json(options.json, result)
    if not options.no_throughput:
        share = throughput_share(problem.network.to(options.device), problem.teacher)
        result.setdefault("throughput_share", {})[f"{_teacher_name(options)}_{options.device}"] = share
        print(f"engine / the teacher's own best throughput: {share:.2f}")
    if options.json:
        write_json(options.json, result)
    return result


def _algorithms(options: argparse.Namespace) -> list[str]:
    return [name for name in options.algorithms.split(",") if name]


def _teacher_name(options: argparse.Namespace) -> str:
    """The teacher in the keys of `throughput_share`."""
    return str(options.name or (options.teacher.resolve().name if options.teacher else options.architecture))


def _described(problem: Problem, options: argparse.Namespace) -> dict[str, Any]:
    """What the numbers are of, and room for them."""
    return {
        "teacher": problem.teacher.spec.identity,
        "device": options.device,
        "seed": options.seed,
        "samples": problem.samples,
        "pairs": len(problem.pairs),
        "decisions": options.decisions,
        "arithmetic": options.arithmetic,
        "networks": problem.surrogate.networks,
        "surrogates": list(surrogate_architectures(problem.surrogate.architecture, problem.teacher.spec.input_shape)),
        "minimum": float(problem.minimum.mean()),
        **{part: {} for part in _MEASURES},
    }


def _earlier(path: Path | None, described: dict[str, Any]) -> dict[str, Any]:
    """The result of an earlier run of the same problem, to be extended; else a new one."""
    if path is None or not path.is_file():
        return described
    earlier: dict[str, Any] = read_json(path)
    differ = [key for key in _SAME if earlier.get(key) != described[key]]
    if differ:
        theirs = ", ".join(f"{key} {earlier.get(key)}" for key in differ)
        raise DataError(f"{path} is of another problem ({theirs}); remove it or name another file")
    return {**described, **earlier}  # an earlier version's file may lack a measure


def _measure(name: str, problem: Problem, checkpoints: list[int], peer_pairs: int, result: dict[str, Any]) -> None:
    begun = time.perf_counter()
    rows = problem.order[:peer_pairs] if name in PEERS else torch.arange(len(problem.pairs))
    measured = _peer_curve(name, problem, rows, checkpoints) if name in PEERS else _curve(name, problem, checkpoints)
    if measured is None:
        return
    curve, asked, training = measured
    ratio = curve / problem.minimum[rows, None]
    keys = list(map(str, checkpoints))
    result["ratio"][name] = dict(zip(keys, ratio.mean(dim=0).tolist(), strict=True))
    result["median"][name] = dict(zip(keys, ratio.median(dim=0).values.tolist(), strict=True))
    result["distance"][name] = dict(zip(keys, curve.mean(dim=0).tolist(), strict=True))
    result["asked"][name] = asked
    # A search that finds something nearer shows that the minimum is none: the share has to be small.
    result["below_minimum"][name] = float((ratio[:, -1] < 0.999).float().mean())
    result["measured_pairs"][name] = len(rows)
    result["seconds"][name] = round(time.perf_counter() - begun, 1)
    result["training"][name] = round(training, 1)
    row = "".join(f"{value:9.3f}" for value in ratio.mean(dim=0).tolist())
    print(f"{name:14}{row}{result['seconds'][name]:9.1f}{result['training'][name]:9.1f}", flush=True)


class _Timed:
    """Runs work here, and sums up the seconds of training surrogates, which ask about made images meanwhile."""

    def __init__(self) -> None:
        self.training = 0.0

    def __call__(self, work: Work) -> Pieces:
        begun = time.perf_counter()
        pieces = run_here(work)
        if work.name in _TRAININGS:
            self.training += time.perf_counter() - begun
        return pieces


def _curve(name: str, problem: Problem, checkpoints: list[int]) -> _Measured:
    """One of our searches on all pairs."""
    kept = {"points": 0, "queried_images": 0, "checkpoints": tuple(checkpoints)}
    method = replace(OWN[name], budget=checkpoints[-1], seed=problem.seed, **kept)
    rows = range(problem.samples)
    timed, total = _Timed(), len(problem.pairs) * checkpoints[-1]
    with Progress("searching", total, "query", inner=True) as progress:
        (found,) = search_pairs(
            problem.teacher, problem.pool, method, [rows], problem.surrogate, on_asked=progress.advance, run=timed
        )
    sample, target = problem.pairs.samples.numpy(), problem.pairs.targets.numpy()
    at, distance, asked = found.at[:, sample, target].T, found.distances[sample, target], found.asked[sample, target]
    # A search that ended early stands where it ended.
    curve = np.where(asked[:, None] <= np.array(checkpoints), distance[:, None], at)
    return _Measured(torch.from_numpy(curve), float(asked.mean()), timed.training)


def _peer_curve(name: str, problem: Problem, rows: torch.Tensor, checkpoints: list[int]) -> _Measured | None:
    """The same for a peer on some of the pairs; None: it is not installed."""
    pairs = problem.pairs
    parts = [part[rows] for part in (pairs.images, pairs.decisions, pairs.targets, pairs.samples)]
    few = Pairs(*parts, pairs.shape, pairs.bounds)
    curve = PEERS[name](problem.teacher, few, problem.starts[rows, 0], checkpoints)
    return None if curve is None else _Measured(curve, float(checkpoints[-1]))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="benchmarks.engine", description=about, allow_abbrev=False)
    parser.add_argument("--teacher", type=Path, help="folder of a local teacher; default: train one on the dataset")
    parser.add_argument("--architecture", default="lenet5", help="of the teacher trained here")
    parser.add_argument("--steps", type=int, default=3000, help="optimiser steps of the teacher trained here")
    parser.add_argument("--name", help="the teacher's name in throughput_share; default: architecture or folder")
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--root", type=Path, help="the dataset's files; default: DB3_DATA_ROOT, else ../shared/data")
    parser.add_argument("--pairs", type=int, default=540, help="of all class combinations; whole samples, rounded up")
    parser.add_argument("--decisions", type=int, default=20000, help="that surrogates are trained on before the search")
    parser.add_argument("--surrogates", help="architectures, comma-separated; default: the library's for the shape")
    parser.add_argument("--networks", type=int, help="surrogates; default: 6, or 3 where decisions are few")
    parser.add_argument("--arithmetic", choices=get_args(Arithmetic), default="exact", help="of the surrogates")
    parser.add_argument("--budget", type=int, default=1000, help="queries per pair")
    parser.add_argument("--algorithms", default=",".join((*OWN, *PEERS)), help="comma-separated")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-throughput", action="store_true")
    parser.add_argument("--peer-pairs", type=int, default=30, help="pairs that each peer is given: peers are slow")
    parser.add_argument("--json", type=Path, help="write the numbers here; an earlier run's file is extended")
    parser.add_argument("--plot", type=Path, help="write a picture of them here, as PNG")
    return parser.parse_args(arguments)


def _opened(options: argparse.Namespace, dataset: Dataset) -> tuple[nn.Module, Teacher]:
    """The teacher's network, and the teacher as it answers.

    Raises:
        DataError: `--teacher` is no folder of a network of db3.
    """
    if options.teacher:
        return open_network(options.teacher), open_teacher(options.teacher, options.device)
    network, file = trained_network(dataset, options.architecture, options.steps)
    spec = TeacherSpec(dataset.image_shape, (0.0, 1.0), len(dataset.class_names), _CALL, digest_file(file))
    return network, Batching(NetworkTeacher(deepcopy(network), spec, options.device))


def _surrogates(options: argparse.Namespace) -> SurrogateSettings:
    steps, retrain, networks = next(how for least, how in _TRAINED.items() if options.decisions >= least)
    networks = networks if options.networks is None else options.networks
    named = {"architecture": tuple(options.surrogates.split(","))} if options.surrogates else {}
    how = {"steps": steps, "retrain": retrain, "networks": networks, "arithmetic": options.arithmetic}
    return SurrogateSettings(**named, **how, seed=options.seed)


def _problem(options: argparse.Namespace) -> Problem:
    root = options.root or (None if os.environ.get("DB3_DATA_ROOT") or not _SHARED.is_dir() else _SHARED)
    dataset, surrogates = open_dataset(options.dataset, root), _surrogates(options)
    Surrogate(dataset.image_shape, len(dataset.class_names), surrogates)  # a name that is none is told before the work
    network, teacher = _opened(options, dataset)
    spec, count = teacher.spec, -(-options.pairs // (teacher.spec.classes - 1))
    pool_size = max(count, round(_POOL_SHARE * options.decisions))
    images = np.array(open_dataset(options.dataset, root, train_limit=pool_size).train().images)
    decisions = decide_all(teacher, images, spec.max_batch)
    samples = _samples(decisions, spec.classes, count, options.seed)
    order = np.concatenate([samples, np.setdiff1d(np.arange(len(images)), samples)])
    pool = TransferImages(images[order], decisions[order])
    pairs, starts = _pairs(pool, len(samples), spec)
    box = WhiteBox(deepcopy(network).requires_grad_(False), spec.input_shape)
    minimum = whitebox_minimum(box, teacher, pairs, starts)
    lacking = int(torch.isinf(minimum).sum())
    if lacking:
        raise DataError(f"{lacking} pairs have no image of their class among {pool_size}: raise --decisions or --steps")
    return Problem(
        teacher,
        network,
        pool,
        len(samples),
        pairs,
        starts,
        torch.tensor(permutation(len(pairs), options.seed, Purpose.BENCHMARK, "shuffle")),
        minimum,
        surrogates,
        options.seed,
    )


def _pairs(pool: TransferImages, samples: int, spec: TeacherSpec) -> tuple[Pairs, torch.Tensor]:
    """All pairs of the first samples, and the two nearest start samples [n, 2, D] of each."""
    sample, target = np.nonzero(np.arange(spec.classes) != pool.decisions[:samples, None])
    near, _ = nearest_starts(pool.images[:samples], pool.images, pool.decisions, spec.classes, 2)
    near = near[sample, target]
    levels = torch.from_numpy(pool.images).flatten(1)
    starts = to_floats(levels[torch.from_numpy(near.clip(min=0))])
    starts[torch.from_numpy(near < 0)] = torch.nan
    rows = torch.from_numpy(sample)
    own, other = torch.from_numpy(pool.decisions)[rows], torch.from_numpy(target)
    return Pairs(to_floats(levels[rows]), own, other, rows, spec.input_shape, spec.bounds), starts


def _samples(decisions: np.ndarray[Any, Any], classes: int, count: int, seed: int) -> np.ndarray[Any, Any]:
    """Places of as many samples of every class, as far as there are."""
    order = np.array(permutation(len(decisions), seed, Purpose.BENCHMARK, "samples"))
    each = -(-count // classes)
    chosen = np.stack(
        [np.pad(order[decisions[order] == k][:each], (0, each), constant_values=-1)[:each] for k in range(classes)],
        axis=1,
    ).ravel()
    return chosen[chosen >= 0][:count]


def _queries_to_paper(result: dict[str, Any]) -> dict[str, int | None]:
    """Fewest queries (of those shown) at which each algorithm is as near as Sign-OPT is after 4,000."""
    goal = result["ratio"].get("sign_opt", {}).get("4000")
    if goal is None:
        return {}
    return {
        name: min((int(at) for at, ratio in ratios.items() if ratio <= goal), default=None)
        for name, ratios in result["ratio"].items()
    }


if __name__ == "__main__":
    main()
