"""What the journal costs: the same searches with and without it, in turns in one run; bytes a query.

    python -m benchmarks.journal --teacher data/teacher

Wall-clock and processor time both: on a machine with other work, the second is the steadier.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.throughput import METHODS, pool_of
from db3.files import write_json
from db3.search import search_distances
from db3.teachers.answers.journal import Journal
from db3.teachers.answers.journalled import Journalled
from db3.teachers.folder import open_teacher
from db3.teachers.meter import Meter


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    opened = open_teacher(options.teacher)
    pool = pool_of(opened)
    method, rows = METHODS[options.method], range(options.samples)
    plain: list[tuple[float, float]] = []
    kept: list[tuple[float, float]] = []
    replayed: list[tuple[float, float]] = []
    queries = size = sealed = 0
    for _ in range(options.turns):
        begun = time.perf_counter(), time.process_time()
        queries = int(search_distances(Meter(opened.teacher), pool, rows, method).asked.sum())
        plain.append(_since(begun))
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            for times in (kept, replayed):
                begun = time.perf_counter(), time.process_time()
                with Journal(Path(folder), {"classes": opened.spec.classes}) as journal:
                    teacher = Meter(Journalled(opened.spec, lambda: opened.teacher, journal))
                    search_distances(teacher, pool, rows, method)
                    size = size or journal.path.stat().st_size
                    sealed = len(journal.sealed({"classes": opened.spec.classes}))
                times.append(_since(begun))
    told = {
        "queries": queries,
        "bytes_per_query": {"growing": size / queries, "sealed": sealed / queries},
        **{
            name: {"wall_s": _middle(times, 0), "cpu_s": _middle(times, 1)}
            for name, times in (("plain", plain), ("journal", kept), ("replay", replayed))
        },
        "overhead": {
            "wall": _middle(kept, 0) / _middle(plain, 0) - 1,
            "cpu": _middle(kept, 1) / _middle(plain, 1) - 1,
        },
    }
    for name, value in told.items():
        print(f"{name}: {value}")
    if options.json:
        write_json(options.json, told)


def _since(begun: tuple[float, float]) -> tuple[float, float]:
    return time.perf_counter() - begun[0], time.process_time() - begun[1]


def _middle(times: list[tuple[float, float]], place: int) -> float:
    return statistics.median(one[place] for one in times)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.journal", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--teacher", type=Path, default=Path("data/teacher"), help="folder of the local teacher")
    parser.add_argument("--method", default="bd", choices=METHODS)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the journals are written; else the temporary folder")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
