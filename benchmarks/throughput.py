"""How much of the teacher's own best throughput a search reaches, measured in turns in one run.

    python -m benchmarks.throughput --teacher data/teacher
    python -m benchmarks.throughput --architecture resnet18 --shape 3 32 32

The share is (queries a second of `search_distances`) / (images a second of the bare network in its best call shape).
Queries count as asked: what a call was padded with is lost. A search's rate is compared with the mean of the bare
rates just before and just after it, and the median of the turns is given, so that other work on the machine, which
comes and goes, meets both sides alike.
"""

import argparse
import resource
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from db3.datasets import open_dataset
from db3.files import write_json
from db3.networks import build
from db3.pixels import to_floats
from db3.search import SearchSettings, TransferImages, search_distances
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.call_shape import CallShape, best_call_shape, images_per_second
from db3.teachers.adapters.network import NetworkTeacher
from db3.teachers.base import ImageShape, Teacher, TeacherSpec
from db3.teachers.budget import Budget
from db3.teachers.folder import open_network, open_teacher

METHODS = {
    "bd": SearchSettings("bd", budget=12, points=0, queried_images=0),
    "mbd": SearchSettings("mbd", budget=50, starts=3, cell=4, points=0, queried_images=0),
    "hopskipjump": SearchSettings("hopskipjump", budget=100, smoothing=0.05, cell=2, points=0, queried_images=0),
    "semicircle": SearchSettings("semicircle", budget=100, smoothing=0.05, cell=2, points=0, queried_images=0),
}
_QUERIES = 40_000  # of one turn, if that takes no longer than _SECONDS
_SECONDS = 6.0
_FEWEST_PAIRS = 1024  # fewer would leave calls unfilled, which a real transfer set does not
_BARE_SECONDS = 0.3


@dataclass(frozen=True)
class Share:
    """One row of the table: medians over turns.

    Attributes:
        bare: images a second of the network alone.
        engine: queries a second through the search.
        share: median of the turns' own ratios.
        spread: least and greatest of them.
        queries: of one turn.
    """

    bare: float
    engine: float
    share: float
    spread: tuple[float, float]
    queries: int


def throughput_share(network: nn.Module, teacher: Teacher, method: str = "semicircle", turns: int = 5) -> float:
    """Median share of one search; see the module.

    Args:
        network: the teacher's own, measured bare on the device of its weights.
        teacher: made of it.
        method: one of `METHODS`.
        turns: measured.
    """
    return measure(network, teacher, METHODS[method], turns=turns).share


def measure(
    network: nn.Module,
    teacher: Teacher,
    method: SearchSettings,
    best: CallShape | None = None,
    turns: int = 5,
    samples: int = 0,
) -> Share:
    """Measure bare network and search in turns; `samples` 0 takes as many as fill some seconds."""
    spec = teacher.spec
    device = next(network.parameters()).device
    best = best or best_call_shape(network, spec.input_shape, device)
    images = torch.rand(best.batch, *spec.input_shape, generator=torch.Generator().manual_seed(0)).to(device)
    pool = pool_of(teacher)
    rows = range(min(samples or _samples(method, spec, best.rate), len(pool.decisions)))
    bare, engine, shares, queries = [], [], [], 0
    before = images_per_second(network, images, best.memory_format, _BARE_SECONDS)
    for _ in range(turns):
        begun = time.perf_counter()
        queries = int(search_distances(teacher, pool, rows, method, device=device).asked.sum())
        engine.append(queries / (time.perf_counter() - begun))
        after = images_per_second(network, images, best.memory_format, _BARE_SECONDS)
        bare.append((before + after) / 2)
        shares.append(engine[-1] / bare[-1])
        before = after
    middle = statistics.median
    return Share(middle(bare), middle(engine), middle(shares), (min(shares), max(shares)), queries)


def _samples(method: SearchSettings, spec: TeacherSpec, rate: float) -> int:
    each = (spec.classes - 1) * method.budget
    fewest = -(-_FEWEST_PAIRS // (spec.classes - 1))
    return max(fewest, int(min(_QUERIES, rate * _SECONDS) / each))


def pool_of(teacher: Teacher) -> TransferImages:
    """scikit-learn's digits in the teacher's shape, with its decisions: real images that need no download."""
    channels, height, width = teacher.spec.input_shape
    if height != width:
        raise SystemExit(f"the benchmark's images are square; the teacher takes {height}x{width}")
    images = open_dataset("digits", size=height, channels=channels).train().images
    decisions = [teacher.decide(to_floats(part)) for part in np.split(images, range(64, len(images), 64))]
    return TransferImages(images, torch.cat(decisions).numpy())


def random_teacher(
    architecture: str, shape: ImageShape, classes: int, device: str, best: CallShape | None = None
) -> tuple[nn.Module, Teacher, CallShape]:
    """A network with random weights that decides all classes, and the teacher made of it in its best call shape."""
    network = build(architecture, shape, classes).eval()
    _balance(network, shape)
    best = best or best_call_shape(network, shape, device)
    spec = TeacherSpec(shape, (0.0, 1.0), classes, best.batch, f"random {architecture}")
    return network, Budget(Batching(NetworkTeacher(network, spec, device, best.memory_format))), best


def _balance(network: nn.Module, shape: ImageShape) -> None:
    """Standardise the last layer's scores over some digits: an untrained network gives them all one class."""
    channels, height, _ = shape
    images = to_floats(open_dataset("digits", size=height, channels=channels).train().images[:256])
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        scores = torch.cat([network(part) for part in torch.split(images, 32)])
        spread = scores.std(dim=0)
        last.weight.div_(spread[:, None])
        last.bias.sub_(scores.mean(dim=0)).div_(spread)


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    network, teacher, best, name = _subject(options)
    size = teacher.spec.max_batch
    print(
        f"{name} on {options.device}, {options.threads} threads: best call {best.batch} {best.memory_format}; "
        f"the teacher's has {size} rows"
    )
    print(
        f"{'search':14}{'bare/s':>10}{'engine/s':>10}{'share':>8}{'least':>8}{'maximum':>8}{'queries':>10}"
        f"{'peak MiB':>10}"
    )
    shares = {}
    for method in options.methods.split(","):
        found = measure(network, teacher, METHODS[method], best, options.turns, options.samples)
        shares[method] = found
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{method:14}{found.bare:10.0f}{found.engine:10.0f}{found.share:8.3f}{found.spread[0]:8.3f}"
            f"{found.spread[1]:8.3f}{found.queries:10}{peak:10.0f}"
        )
    if options.json:
        write_json(
            options.json,
            {
                "throughput_share": {
                    f"{name}_{options.device}": {method: found.share for method, found in shares.items()}
                },
                "bare": {method: found.bare for method, found in shares.items()},
                "engine": {method: found.engine for method, found in shares.items()},
                "call": {"batch": best.batch, "memory_format": best.memory_format},
                "threads": options.threads,
            },
        )


def _subject(options: argparse.Namespace) -> tuple[nn.Module, Teacher, CallShape, str]:
    if options.architecture:
        shape = tuple(options.shape)
        network, teacher, best = random_teacher(options.architecture, shape, options.classes, options.device)
        return network, teacher, best, options.name or options.architecture
    network, teacher = open_network(options.teacher), open_teacher(options.teacher, options.device)
    best = best_call_shape(network, teacher.spec.input_shape, options.device)
    return network, teacher, best, options.name or "lenet5"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.throughput", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--teacher", type=Path, default=Path("data/teacher"), help="folder of the local teacher")
    parser.add_argument("--architecture", help="random weights in place of a folder")
    parser.add_argument("--shape", type=int, nargs=3, default=(3, 32, 32), help="with --architecture: C H W")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--name", help="the teacher's name in the results")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated")
    parser.add_argument("--samples", type=int, default=0, help="samples searched; 0: as many as fill some seconds")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
