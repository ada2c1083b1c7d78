"""Distance against queries for every search, on the same samples, teacher and start samples, in one run.

    python -m benchmarks.engine --pairs 540 --primer 20000 --json FILE

Prints a table of mean distance / white-box minimum and writes it as JSON. The teacher is data/teacher/ (`--teacher`);
its scores are seen by the white-box minimum alone.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers import foolbox_hop_skip_jump
from benchmarks.throughput import throughput_share
from benchmarks.whitebox import WhiteBox, whitebox_minimum
from db3.datasets import open_dataset
from db3.decisions.auto import auto
from db3.decisions.bd import boundary_distance
from db3.decisions.driver import drive
from db3.decisions.guided import guided
from db3.decisions.hopskipjump import hop_skip_jump
from db3.decisions.mbd import minimal_boundary_distance
from db3.decisions.primer import Answers, Primer, PrimerSettings, scout
from db3.decisions.search import Asks, Pairs, Search
from db3.decisions.semicircle import SemicircleSettings, semicircle
from db3.decisions.starts import nearest_starts
from db3.decisions.subspace import cells
from db3.files import write_json
from db3.rng import permutation
from db3.teachers.base import Teacher
from db3.teachers.local import open_network, open_teacher

CHECKPOINTS = (25, 50, 100, 250, 500, 1000, 4000)
OWN = ("bd", "sign_opt", "hopskipjump", "semicircle", "guided", "auto")
PEERS = ("foolbox",)
_TOLERANCE = 0.01


@dataclass(frozen=True)
class Problem:
    """What every algorithm is given."""

    teacher: Teacher
    pairs: Pairs
    starts: torch.Tensor
    natural: Answers
    minimum: torch.Tensor
    primer: int
    architecture: str
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
    print(f"{options.pairs} pairs, white-box minimum {float(problem.minimum.mean()):.3f} on average")
    print(f"{'algorithm':14}" + "".join(f"{at:>9}" for at in checkpoints) + f"{'seconds':>9}")
    result: dict[str, Any] = {
        "teacher": problem.teacher.spec.identity,
        "device": options.device,
        "seed": options.seed,
        "pairs": len(problem.pairs),
        "primer": options.primer,
        "minimum": float(problem.minimum.mean()),
        "ratio": {},
        "median": {},
    }
    distances: dict[str, torch.Tensor] = {}
    for name in wanted:
        begun = time.perf_counter()
        curve = _curve(name, problem, checkpoints)
        if curve is None:
            continue
        ratio = curve / problem.minimum[:, None]
        distances[name] = curve
        result["ratio"][name] = dict(zip(map(str, checkpoints), ratio.mean(dim=0).tolist(), strict=True))
        result["median"][name] = dict(zip(map(str, checkpoints), ratio.median(dim=0).values.tolist(), strict=True))
        cost = time.perf_counter() - begun
        print(f"{name:14}" + "".join(f"{value:9.3f}" for value in ratio.mean(dim=0).tolist()) + f"{cost:9.1f}")
    result["queries_to_paper_4000"] = _queries_to_paper(distances, checkpoints)
    if not options.no_throughput:
        share = throughput_share(open_network(options.teacher), open_teacher(options.teacher, options.device))
        result["throughput_share"] = {f"{options.name}_{options.device}": share}
        print(f"engine / the teacher's own best throughput: {share:.2f}")
    if options.json:
        write_json(options.json, result)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.engine", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--teacher", type=Path, default=Path("data/teacher"), help="folder of the local teacher")
    parser.add_argument("--name", default="lenet5", help="the teacher's name in throughput_share")
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--root", help="folder of the dataset's files; default: DB3_DATA_ROOT")
    parser.add_argument("--pairs", type=int, default=540, help="spread evenly over all class combinations")
    parser.add_argument("--primer", type=int, default=20000, help="decisions that primers are trained on")
    parser.add_argument("--primer-architecture", default="lenet5")
    parser.add_argument("--budget", type=int, default=1000, help="queries per pair")
    parser.add_argument("--algorithms", default=",".join((*OWN, *PEERS)), help="comma-separated")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-throughput", action="store_true")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    return parser.parse_args()


def _problem(options: argparse.Namespace) -> Problem:
    teacher = open_teacher(options.teacher, options.device)
    images = open_dataset(options.dataset, options.root, train_limit=options.primer).train().images
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
        options.primer,
        options.primer_architecture,
        options.seed,
    )


def _combinations(decisions: torch.Tensor, classes: int, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """As many pairs of every ordered combination of two classes as `count` allows (at least one in all)."""
    order = torch.tensor(permutation(len(decisions), seed, "pairs"))
    each = -(-count // (classes * (classes - 1)))
    rows, targets = [], []
    for m in range(classes):
        members = order[decisions[order] == m]
        for place, k in enumerate(k for k in range(classes) if k != m):
            chosen = members[place * each : (place + 1) * each]
            rows.append(chosen)
            targets.append(torch.full_like(chosen, k))
    shuffled = torch.tensor(permutation(sum(map(len, rows)), seed, "shuffle"))[:count]
    return torch.cat(rows)[shuffled], torch.cat(targets)[shuffled]


def _curve(name: str, problem: Problem, checkpoints: list[int]) -> torch.Tensor | None:
    """Distance [n, T] known to one algorithm after each number of queries."""
    if name == "foolbox":
        return foolbox_hop_skip_jump(problem.teacher, problem.pairs, problem.starts[:, 0], checkpoints)
    search = Search(problem.pairs, checkpoints[-1], checkpoints)
    run: dict[str, Callable[[], None]] = {
        "guided": lambda: _primed(problem, search, guided),
        "auto": lambda: _primed(problem, search, auto),
    }
    run.get(name, lambda: _driven(problem, [_asks(name, problem, search)]))()
    # A search that ended early stands where it ended.
    stands = search.asked[:, None] <= torch.tensor(checkpoints)
    return torch.where(stands, search.distance[:, None], search.curve)


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


def _primed(problem: Problem, search: Search, algorithm: Callable[..., None]) -> None:
    spec = problem.teacher.spec
    # Steps in proportion to what there is to learn, within what was measured.
    steps = 600 if problem.primer >= 5000 else 300
    settings = PrimerSettings(problem.architecture, steps=steps, retrain=steps // 2, seed=problem.seed)
    primer = Primer(spec.input_shape, spec.classes, settings, spec.bounds)
    known: list[Answers] = []

    def scouting() -> Iterator[torch.Tensor]:
        known.append((yield from scout(primer, problem.natural, problem.primer)))

    drive([scouting()], problem.teacher)  # type: ignore[list-item]
    algorithm(problem.teacher, [search], [problem.starts[:, 0]], primer, known[0])


def _queries_to_paper(distances: dict[str, torch.Tensor], checkpoints: list[int]) -> dict[str, int | None]:
    """Fewest queries (of those shown) at which each algorithm is as near as Sign-OPT is after its last."""
    if "sign_opt" not in distances or checkpoints[-1] < 4000:
        return {}
    goal = float(distances["sign_opt"][:, -1].mean())
    means = {name: curve.mean(dim=0).tolist() for name, curve in distances.items()}
    return {
        name: next((at for at, mean in zip(checkpoints, values, strict=True) if mean <= goal), None)
        for name, values in means.items()
    }


if __name__ == "__main__":
    main()
