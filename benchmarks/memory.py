"""Peak memory of the searches over a large pool: 60,000 samples of 1×28×28 with 9 pairs each, in shards.

    python -m benchmarks.memory

The pool is a memory-mapped file; the teacher is analytic and costs next to nothing, so what is measured is the engine.
Every shard is searched (`--shards` takes the first few) and its arrays are kept, as the pipeline keeps them.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from db3.pixels import to_floats
from db3.search import SearchSettings, TransferImages, search_distances
from db3.teachers.adapters.batching import Batching
from db3.testing.analytic import Brightest

_CLASSES = 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=60_000)
    parser.add_argument("--shape", type=int, nargs=3, default=(1, 28, 28), help="C H W")
    parser.add_argument("--shard", type=int, default=5_000, help="samples of one call of search_distances")
    parser.add_argument("--shards", type=int, help="only the first so many")
    parser.add_argument("--method", default="bd", choices=("bd", "mbd", "semicircle"))
    parser.add_argument("--budget", type=int, default=2, help="queries per pair")
    options = parser.parse_args()
    torch.set_num_threads(1)
    shape = tuple(options.shape)
    teacher = Batching(Brightest((torch.arange(int(np.prod(shape))) * _CLASSES // int(np.prod(shape))).view(shape)))
    print(f"interpreter and torch: {_peak():,.0f} MiB")
    with tempfile.TemporaryDirectory() as folder:
        pool = _pool(Path(folder) / "images.npy", options.samples, shape, teacher)
        print(f"pool of {options.samples:,} images mapped, {pool.images.nbytes / 2**20:,.0f} MiB: {_peak():,.0f} MiB")
        method = SearchSettings(options.method, budget=options.budget, starts=1, cell=1, points=0, queried_images=0)
        found, begun = [], time.perf_counter()
        for start in list(range(0, options.samples, options.shard))[: options.shards]:
            rows = range(start, min(start + options.shard, options.samples))
            found.append(search_distances(teacher, pool, rows, method))
            asked = sum(int(part.asked.sum()) for part in found)
            print(f"samples {rows.stop:,}, {asked:,} queries, {time.perf_counter() - begun:.0f} s: {_peak():,.0f} MiB")


def _pool(file: Path, count: int, shape: tuple[int, ...], teacher: Batching) -> TransferImages:
    """Noise in which one class's area is brighter, written and decided piece by piece."""
    pixels = np.lib.format.open_memmap(file, "w+", np.uint8, (count, *shape))
    draw, decisions = np.random.default_rng(0), []
    size = int(np.prod(shape))
    for start in range(0, count, 1024):
        part = draw.integers(0, 200, (min(1024, count - start), size), dtype=np.uint8)
        bright = (np.arange(size) * _CLASSES // size) == draw.integers(0, _CLASSES, len(part))[:, None]
        pixels[start : start + 1024] = (part + 55 * bright).astype(np.uint8).reshape(-1, *shape)
        decisions.append(teacher.decide(to_floats(pixels[start : start + 1024])).numpy())
    pixels.flush()
    return TransferImages(np.load(file, mmap_mode="r"), np.concatenate(decisions))


def _peak() -> float:
    """Greatest resident memory so far, MiB; pages of the mapped file that were touched count."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
