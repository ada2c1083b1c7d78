"""Distance against queries for every search, on the same samples, teacher and start samples, in one run.

    python -m benchmarks.engine --pairs 540 --surrogate 20000 --json FILE

Prints a table of mean distance / white-box minimum and writes it as JSON; a file that an earlier run of the same
problem wrote is extended. The teacher is data/teacher/ (`--teacher`); its scores are seen by the white-box minimum
alone. Samples and start samples are among the decisions that `--surrogate` counts.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
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
from db3.rng import Purpose, permutation
from db3.search.auto_unused import auto, guided
from db3.search.driver import drive
from db3.search.ledger import Asks, Pairs, Search
from db3.search.methods.bd import boundary_distance
from db3.search.methods.hopskipjump import hop_skip_jump
from db3.search.methods.mbd import minimal_boundary_distance
from db3.search.methods.semicircle import SemicircleSettings, semicircle
from db3.search.starts import nearest_starts
from db3.search.subspace import cells
from db3.search.surrogate.surrogate import Answers, Surrogate, SurrogateSettings, ask_synthetic
from db3.teachers.base import Teacher
from db3.teachers.folder import open_network, open_teacher

CHECKPOINTS = (25, 50, 100, 250, 500, 1000, 4000)
OWN = ("bd", "sign_opt", "hopskipjump", "semicircle", "guided", "auto")
PEERS = {"foolbox": foolbox_hop_skip_jump, "art": art_hop_skip_jump}
_TOLERANCE = 0.01
_SYNTHETIC_SHARE = 0.6  # share of the surrogates' decisions that goes to images they make themselves
_MANY = 5000  # decisions from which on surrogates are trained longer
_SAME = ("teacher", "device", "seed", "pairs", "surrogate", "surrogate_architecture")


@dataclass(frozen=True)
class Problem:
    """What every algorithm is given."""

    teacher: Teacher
    pairs: Pairs
    starts: torch.Tensor
    natural: Answers
    minimum: torch.Tensor
    surrogate: int
    architecture: str
    seed: int
    synthetic_answers: list[tuple[dict[str, Any], Answers]] = field(default_factory=list)


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
    if name in PEERS:
        problem = _first(problem, peer_pairs)
    measured = _curve(name, problem, checkpoints)
    if measured is None:
        return
    curve, asked = measured
    ratio = curve / problem.minimum[:, None]
    keys = list(map(str, checkpoints))
    result["ratio"][name] = dict(zip(keys, ratio.mean(dim=0).tolist(), strict=True))
    result["median"][name] = dict(zip(keys, ratio.median(dim=0).values.tolist(), strict=True))
    result["distance"][name] = dict(zip(keys, curve.mean(dim=0).tolist(), strict=True))
    result["asked"][name] = asked
    # A search that finds something nearer shows that the minimum is none: the share has to be small.
    result["below_minimum"][name] = float((ratio[:, -1] < 0.999).float().mean())
    result["measured_pairs"][name] = len(problem.pairs)
    result["seconds"][name] = round(time.perf_counter() - begun, 1)
    row = "".join(f"{value:9.3f}" for value in ratio.mean(dim=0).tolist())
    print(f"{name:14}{row}{result['seconds'][name]:9.1f}", flush=True)


def _first(problem: Problem, count: int) -> Problem:
    """The same problem with its first pairs only: they are shuffled."""
    pairs = problem.pairs
    parts = [part[:count] for part in (pairs.images, pairs.decisions, pairs.targets, pairs.samples)]
    few = Pairs(*parts, pairs.shape, pairs.bounds)
    return replace(problem, pairs=few, starts=problem.starts[:count], minimum=problem.minimum[:count])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.engine", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--teacher", type=Path, default=Path("data/teacher"), help="folder of the local teacher")
    parser.add_argument("--name", default="lenet5", help="the teacher's name in throughput_share")
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--root", help="folder of the dataset's files; default: DB3_DATA_ROOT")
    parser.add_argument("--pairs", type=int, default=540, help="spread evenly over all class combinations")
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
    kept = options.surrogate - int(_SYNTHETIC_SHARE * options.surrogate)
    images = open_dataset(options.dataset, options.root, train_limit=kept).train().images
    levels = torch.from_numpy(np.array(images)).flatten(1)
    shape = teacher.spec.input_shape
    decisions = torch.cat([teacher.decide(part.view(-1, *shape).float() / 255) for part in torch.split(levels, 1024)])
    rows, targets = _combinations(decisions, teacher.spec.classes, options.pairs, options.seed)
    near, _ = nearest_starts(images[rows.numpy()], images, decisions.numpy(), teacher.spec.classes, 2)
    near = near[np.arange(len(rows)), targets.numpy()]
    starts = levels[torch.from_numpy(near.clip(min=0))].float() / 255
    starts[torch.from_numpy(near < 0)] = torch.nan
    pairs = Pairs(levels[rows].float() / 255, decisions[rows], targets, rows, shape, teacher.spec.bounds)
    box = WhiteBox(open_network(options.teacher).requires_grad_(False), shape)
    minimum = whitebox_minimum(box, teacher, pairs, starts)
    return Problem(
        teacher,
        pairs,
        starts,
        Answers(levels, decisions),
        minimum,
        options.surrogate,
        options.surrogate_architecture,
        options.seed,
    )


def _combinations(decisions: torch.Tensor, classes: int, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """As many pairs of every ordered combination of two classes as `count` allows (at least one in all)."""
    order = torch.tensor(permutation(len(decisions), seed, Purpose.BENCHMARK, "pairs"))
    each = -(-count // (classes * (classes - 1)))
    rows, targets = [], []
    for m in range(classes):
        members = order[decisions[order] == m]
        for place, k in enumerate(k for k in range(classes) if k != m):
            # Where a class has too few samples they serve again, with another class.
            chosen = members[(place * each + torch.arange(each)) % len(members)]
            rows.append(chosen)
            targets.append(torch.full_like(chosen, k))
    shuffled = torch.tensor(permutation(sum(map(len, rows)), seed, Purpose.BENCHMARK, "shuffle"))[:count]
    return torch.cat(rows)[shuffled], torch.cat(targets)[shuffled]


def _curve(name: str, problem: Problem, checkpoints: list[int]) -> tuple[torch.Tensor, float] | None:
    """Distance [n, T] known to one algorithm after each number of queries, and the queries it asked per pair."""
    if name in PEERS:
        curve = PEERS[name](problem.teacher, problem.pairs, problem.starts[:, 0], checkpoints)
        return None if curve is None else (curve, float(checkpoints[-1]))
    search = Search(problem.pairs, checkpoints[-1], checkpoints)
    run: dict[str, Callable[[], None]] = {
        "guided": lambda: _with_surrogates(problem, search, guided),
        "auto": lambda: _with_surrogates(problem, search, auto),
    }
    run.get(name, lambda: _driven(problem, [_asks(name, problem, search)]))()
    # A search that ended early stands where it ended.
    stands = search.asked[:, None] <= torch.tensor(checkpoints)
    return torch.where(stands, search.distance[:, None], search.curve), float(search.asked.float().mean())


def _driven(problem: Problem, asks: list[Asks]) -> None:
    drive(asks, problem.teacher)


def _asks(name: str, problem: Problem, search: Search) -> Asks:
    shape, seed = problem.pairs.shape, problem.seed
    yield from boundary_distance(search, problem.starts[:, :1], _TOLERANCE)
    if name == "sign_opt":
        yield from minimal_boundary_distance(search, seed, 20, 0.1, 0.2, _TOLERANCE, cell=1)
    if name == "hopskipjump":
        yield from hop_skip_jump(search, cells(shape, 2, seed))
    if name == "semicircle":
        yield from semicircle(search, cells(shape, 2, seed), SemicircleSettings())


def _with_surrogates(problem: Problem, search: Search, algorithm: Callable[..., None]) -> None:
    """Both guided searches begin with the same surrogates, which are trained once."""
    spec = problem.teacher.spec
    # Steps in proportion to what there is to learn, within what was measured.
    steps, retrain = (1000, 400) if problem.surrogate >= _MANY else (600, 300)
    settings = SurrogateSettings(problem.architecture, steps=steps, retrain=retrain, seed=problem.seed)
    surrogate = Surrogate(spec.input_shape, spec.classes, settings, spec.bounds)
    if not problem.synthetic_answers:
        known: list[Answers] = []

        def synthetic_queries() -> Asks:
            known.append(
                (yield from ask_synthetic(surrogate, problem.natural, problem.surrogate, share=_SYNTHETIC_SHARE))
            )

        begun = time.perf_counter()
        drive([synthetic_queries()], problem.teacher)
        problem.synthetic_answers.append((surrogate.arrays(), known[0]))
        print(f"surrogates trained in {time.perf_counter() - begun:.0f} s", flush=True)
    arrays, answers = problem.synthetic_answers[0]
    surrogate.load(arrays)
    algorithm(problem.teacher, [search], [problem.starts[:, 0]], surrogate, answers)


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
