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
from db3.teachers.answers.answers import Answers
from db3.teachers.answers.journal import Journal
from db3.teachers.answers.recorded import JournalStore
from db3.teachers.budget import Budget, Costs
from db3.teachers.folder import open_adapter
from db3.teachers.votes import Votes


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    adapter = open_adapter(options.teacher)
    pool = pool_of(adapter)
    method, rows = METHODS[options.method], range(options.samples)
    plain: list[tuple[float, float]] = []
    kept: list[tuple[float, float]] = []
    known: list[tuple[float, float]] = []
    queries = size = sealed = 0
    for _ in range(options.turns):
        begun = time.perf_counter(), time.process_time()
        queries = int(search_distances(Budget(adapter), pool, rows, method).asked.sum())
        plain.append(_since(begun))
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            for times in (kept, known):
                begun = time.perf_counter(), time.process_time()
                with Journal(Path(folder), {"classes": adapter.spec.classes}) as journal:
                    costs = Costs(note=journal.note)
                    votes = Votes(adapter, 1, costs)
                    answers = Answers(adapter.spec, lambda votes=votes: votes, JournalStore(journal), costs)
                    search_distances(Budget(answers, costs=costs), pool, rows, method)
                    size = size or journal.path.stat().st_size
                    sealed = len(journal.sealed({"classes": adapter.spec.classes}))
                times.append(_since(begun))
    result = {
        "queries": queries,
        "bytes_per_query": {"growing": size / queries, "sealed": sealed / queries},
        **{
            name: {"wall_s": _middle(times, 0), "cpu_s": _middle(times, 1)}
            for name, times in (("plain", plain), ("journal", kept), ("known", known))
        },
        "overhead": {
            "wall": _middle(kept, 0) / _middle(plain, 0) - 1,
            "cpu": _middle(kept, 1) / _middle(plain, 1) - 1,
        },
    }
    for name, value in result.items():
        print(f"{name}: {value}")
    if options.json:
        write_json(options.json, result)


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
