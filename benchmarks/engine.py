"""Distance against queries for every search, on the same samples, teacher and start samples, in one run.

    python -m benchmarks.engine --samples 60 --surrogate 20000 --json FILE

Prints a table of mean distance / white-box minimum and writes it as JSON; a file that an earlier run of the same
problem wrote is extended. Every search of our own is run by `db3.search.search_distances`, as the pipeline runs it: all
classes of every sample. The teacher is data/teacher/ (`--teacher`); its scores are seen by the white-box minimum alone.
Samples and start samples are among the decisions that `--surrogate` counts.
"""

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers import art_hop_skip_jump, foolbox_hop_skip_jump
from benchmarks.plot import plot
from benchmarks.throughput import throughput_share
from benchmarks.whitebox import WhiteBox, whitebox_minimum
from db3.datasets import open_dataset
from db3.files import read_json, write_json
from db3.pixels import to_floats
from db3.rng import Purpose, permutation
from db3.search import SearchSettings, TransferImages, search_distances
from db3.search.ledger import Pairs
from db3.search.starts import nearest_starts
from db3.search.surrogate.surrogate import SurrogateSettings
from db3.teachers.base import Teacher
from db3.teachers.folder import open_network, open_teacher

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
_MANY = 5000  # decisions from which on surrogates are trained longer
_SAME = ("teacher", "device", "seed", "samples", "surrogate", "surrogate_architecture")


@dataclass(frozen=True)
class Problem:
    """What every algorithm is given.

    Attributes:
        teacher: decides.
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
    pool: TransferImages
    samples: int
    pairs: Pairs
    starts: torch.Tensor
    order: torch.Tensor
    minimum: torch.Tensor
    surrogate: SurrogateSettings
    seed: int


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    wanted = [name for name in options.algorithms.split(",") if name]
    unknown = set(wanted) - {*OWN, *PEERS}
    if unknown:
        raise SystemExit(f"unknown algorithm {', '.join(sorted(unknown))}; known: {', '.join((*OWN, *PEERS))}")
    problem = _problem(options)
    checkpoints = [at for at in CHECKPOINTS if at <= options.budget]
    result = _earlier(options.json, _described(problem, options))
    print(f"{len(problem.pairs)} pairs, white-box minimum {result['minimum']:.3f} on average")
    print(f"{'algorithm':14}" + "".join(f"{at:>9}" for at in checkpoints) + f"{'seconds':>9}")
    for name in wanted:
        _measure(name, problem, checkpoints, options.peer_pairs, result)
        result["queries_to_paper_4000"] = _queries_to_paper(result)
        if options.json:
            write_json(options.json, result)
    if not options.no_throughput:
        share = throughput_share(open_network(options.teacher), open_teacher(options.teacher, options.device))
        result.setdefault("throughput_share", {})[f"{options.name}_{options.device}"] = share
        print(f"engine / the teacher's own best throughput: {share:.2f}")
    if options.json:
        write_json(options.json, result)
    if options.plot:
        plot(result, options.plot)


def _described(problem: Problem, options: argparse.Namespace) -> dict[str, Any]:
    """What the numbers are of, and room for them."""
    return {
        "teacher": problem.teacher.spec.identity,
        "device": options.device,
        "seed": options.seed,
        "samples": problem.samples,
        "pairs": len(problem.pairs),
        "surrogate": options.surrogate,
        "surrogate_architecture": options.surrogate_architecture,
        "minimum": float(problem.minimum.mean()),
        **{part: {} for part in ("ratio", "median", "distance", "asked", "below_minimum", "measured_pairs", "seconds")},
    }


def _earlier(path: Path | None, described: dict[str, Any]) -> dict[str, Any]:
    """The result of an earlier run of the same problem, to be extended; else a new one."""
    if path is None or not path.is_file():
        return described
    earlier: dict[str, Any] = read_json(path)
    differ = [key for key in _SAME if earlier.get(key) != described[key]]
    if differ:
        theirs = ", ".join(f"{key} {earlier.get(key)}" for key in differ)
        raise SystemExit(f"{path} is of another problem ({theirs}); remove it or name another file")
    return earlier


def _measure(name: str, problem: Problem, checkpoints: list[int], peer_pairs: int, result: dict[str, Any]) -> None:
    begun = time.perf_counter()
    rows = problem.order[:peer_pairs] if name in PEERS else torch.arange(len(problem.pairs))
    measured = _peer_curve(name, problem, rows, checkpoints) if name in PEERS else _curve(name, problem, checkpoints)
    if measured is None:
        return
    curve, asked = measured
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
    row = "".join(f"{value:9.3f}" for value in ratio.mean(dim=0).tolist())
    print(f"{name:14}{row}{result['seconds'][name]:9.1f}", flush=True)


def _curve(name: str, problem: Problem, checkpoints: list[int]) -> tuple[torch.Tensor, float]:
    """Distance [n, T] known to one of our searches after each number of queries, and the queries it asked per pair."""
    kept = {"points": 0, "queried_images": 0, "checkpoints": tuple(checkpoints)}
    method = replace(OWN[name], budget=checkpoints[-1], seed=problem.seed, **kept)
    rows = range(problem.samples)
    found = search_distances(problem.teacher, problem.pool, rows, method, surrogate=problem.surrogate)
    sample, target = problem.pairs.samples.numpy(), problem.pairs.targets.numpy()
    at, distance, asked = found.at[:, sample, target].T, found.distances[sample, target], found.asked[sample, target]
    # A search that ended early stands where it ended.
    curve = np.where(asked[:, None] <= np.array(checkpoints), distance[:, None], at)
    return torch.from_numpy(curve), float(asked.mean())


def _peer_curve(
    name: str, problem: Problem, rows: torch.Tensor, checkpoints: list[int]
) -> tuple[torch.Tensor, float] | None:
    """The same for a peer on some of the pairs; None: it is not installed."""
    pairs = problem.pairs
    parts = [part[rows] for part in (pairs.images, pairs.decisions, pairs.targets, pairs.samples)]
    few = Pairs(*parts, pairs.shape, pairs.bounds)
    curve = PEERS[name](problem.teacher, few, problem.starts[rows, 0], checkpoints)
    return None if curve is None else (curve, float(checkpoints[-1]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.engine", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--teacher", type=Path, default=Path("data/teacher"), help="folder of the local teacher")
    parser.add_argument("--name", default="lenet5", help="the teacher's name in throughput_share")
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--root", help="folder of the dataset's files; default: DB3_DATA_ROOT")
    parser.add_argument("--samples", type=int, default=60, help="spread evenly over the classes; each with all others")
    parser.add_argument("--surrogate", type=int, default=20000, help="decisions that surrogates are trained on")
    parser.add_argument("--surrogate-architecture", default="lenet5")
    parser.add_argument("--budget", type=int, default=1000, help="queries per pair")
    parser.add_argument("--algorithms", default=",".join((*OWN, *PEERS)), help="comma-separated")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-throughput", action="store_true")
    parser.add_argument("--peer-pairs", type=int, default=30, help="pairs that each peer is given: peers are slow")
    parser.add_argument("--json", type=Path, help="write the numbers here; an earlier run's file is extended")
    parser.add_argument("--plot", type=Path, help="write a picture of them here, as PNG")
    return parser.parse_args()


def _problem(options: argparse.Namespace) -> Problem:
    teacher = open_teacher(options.teacher, options.device)
    spec = teacher.spec
    images = np.array(open_dataset(options.dataset, options.root, train_limit=_pool_size(options)).train().images)
    decisions = torch.cat(
        [teacher.decide(to_floats(part)) for part in torch.split(torch.from_numpy(images), spec.max_batch)]
    ).numpy()
    samples = _samples(decisions, spec.classes, options.samples, options.seed)
    order = np.concatenate([samples, np.setdiff1d(np.arange(len(images)), samples)])
    pool = TransferImages(images[order], decisions[order])
    sample, target = np.nonzero(np.arange(spec.classes) != pool.decisions[: len(samples), None])
    near, _ = nearest_starts(pool.images[: len(samples)], pool.images, pool.decisions, spec.classes, 2)
    near = near[sample, target]
    levels = torch.from_numpy(pool.images).flatten(1)
    starts = to_floats(levels[torch.from_numpy(near.clip(min=0))])
    starts[torch.from_numpy(near < 0)] = torch.nan
    rows = torch.from_numpy(sample)
    own, other = torch.from_numpy(pool.decisions)[rows], torch.from_numpy(target)
    pairs = Pairs(to_floats(levels[rows]), own, other, rows, spec.input_shape, spec.bounds)
    box = WhiteBox(open_network(options.teacher).requires_grad_(False), spec.input_shape)
    # Steps in proportion to what there is to learn, within what was measured.
    steps, retrain = (1000, 400) if options.surrogate >= _MANY else (600, 300)
    return Problem(
        teacher,
        pool,
        len(samples),
        pairs,
        starts,
        torch.tensor(permutation(len(pairs), options.seed, Purpose.BENCHMARK, "shuffle")),
        whitebox_minimum(box, teacher, pairs, starts),
        SurrogateSettings(options.surrogate_architecture, steps=steps, retrain=retrain, seed=options.seed),
        options.seed,
    )


def _pool_size(options: argparse.Namespace) -> int:
    return max(options.samples, round(_POOL_SHARE * options.surrogate))


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
