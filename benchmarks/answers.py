"""What the store of answers costs: look-ups and inserts, a remote teacher's throughput, a local one's; bytes an answer.

    python -m benchmarks.answers --rows 10000 1000000 --json answers.json

Every comparison is made in turns in one run, and its median told. The remote teacher is `benchmarks.counting`, a real
server in a process of its own. `--url` takes another database than a SQLite file in a temporary folder for the rows.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from db3.files import write_json
from db3.networks import build
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.http import HttpTeacher
from db3.teachers.adapters.http_settings import Link
from db3.teachers.adapters.inference_protocol import Interface
from db3.teachers.adapters.network import NetworkTeacher
from db3.teachers.answers.answers import Answers
from db3.teachers.answers.place import open_answers
from db3.teachers.answers.sqlite import SqliteDatabase
from db3.teachers.answers.store import Account, AnswerStore
from db3.teachers.base import Teacher, TeacherSpec
from db3.teachers.budget import Budget, Costs
from db3.teachers.votes import Votes

_ACCOUNT = Account("benchmark", 10, "benchmark", "scope")
_CALL = 256  # images


def measure_rows(store: AnswerStore, rows: int, file: Path | None) -> dict[str, float]:
    """Fill a store up to `rows`, then look up known and unknown images and add new ones, in calls of 256."""
    draw, known = np.random.default_rng(rows), list[bytes]()
    while (held := sum(entry.images for entry in store.entries())) < rows:
        for _ in range(max(1, min(50, (rows - held) // 20_000))):
            keys = _keys(draw, min(20_000, rows - held))
            store.commit(_ACCOUNT, dict.fromkeys(keys, b"\x03"))
            known += keys[:200]
    picked = [known[place] for place in draw.integers(0, len(known), 20 * _CALL)]
    found = _per_image(lambda part: store.find(_ACCOUNT, part), picked)
    absent = _per_image(lambda part: store.find(_ACCOUNT, part), _keys(draw, 20 * _CALL))
    added = _per_image(
        lambda part: store.commit(_ACCOUNT, dict.fromkeys(part, b"\x03"), sent=len(part)), _keys(draw, 20 * _CALL)
    )
    told = {"known_us": found, "unknown_us": absent, "insert_us": added}
    if file is not None:
        store.close()  # writes the WAL back
        told["bytes"] = file.stat().st_size / (rows + 20 * _CALL)
    return told


def _keys(draw: np.random.Generator, count: int) -> list[bytes]:
    data = draw.bytes(16 * count)
    return [data[place : place + 16] for place in range(0, len(data), 16)]


def _per_image(work: Any, keys: list[bytes]) -> float:
    """Median microseconds an image."""
    times = []
    for start in range(0, len(keys), _CALL):
        begun = time.perf_counter()
        work(keys[start : start + _CALL])
        times.append((time.perf_counter() - begun) / _CALL * 1e6)
    return statistics.median(times)


class _Listening:
    """Hands what an adapter announces to whoever listens now."""

    def __init__(self) -> None:
        self.costs = Costs()
        self.answers: Answers | None = None

    def sending(self, count: int) -> None:
        if self.answers:
            self.answers.sending(count)
        else:
            self.costs.send(count)

    def answered(self, place: int, decisions: torch.Tensor) -> None:
        if self.answers:
            self.answers.answered(place, decisions)


def compare(adapter: Teacher, listening: _Listening, images: int, turns: int) -> dict[str, float]:
    """Images a second of a teacher without the store, with it, and from it, in turns."""
    rates: dict[str, list[float]] = {"without": [], "with": [], "known": []}
    draw = torch.Generator().manual_seed(0)
    for turn in range(turns + 1):
        with tempfile.TemporaryDirectory() as folder:
            store = AnswerStore(SqliteDatabase(Path(folder) / "answers.sqlite"))
            pixels = torch.rand(images, *adapter.spec.input_shape, generator=draw)
            for name in ("without", "with", "known"):
                costs = Costs()
                listening.costs, listening.answers = costs, None
                votes = Votes(adapter, 1, costs)
                if name != "without":
                    listening.answers = Answers(adapter, store, Account("teacher", 10), costs)
                    votes = Votes(listening.answers, 1, costs)
                teacher = Budget(votes, costs=costs)
                begun = time.perf_counter()
                for part in pixels.split(_CALL):
                    teacher.decide(part)
                if turn:  # the first one warms up
                    rates[name].append(images / (time.perf_counter() - begun))
            store.close()
    told = {name: statistics.median(found) for name, found in rates.items()}
    pairs = zip(rates["with"], rates["without"], strict=True)
    return told | {"ratio": statistics.median(one / other for one, other in pairs)}


def remote(options: argparse.Namespace) -> dict[str, float]:
    """A server of this machine, 64 images a request, four requests at once."""
    command = [sys.executable, "-m", "benchmarks.counting", "--seconds", str(options.seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout  # noqa: S101 - for the type checker
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            spec, listening = TeacherSpec((1, 28, 28), (0.0, 1.0), 10, 64, "remote"), _Listening()
            adapter = HttpTeacher(
                url, "m", spec, Interface("x", "FP32", "y", None), link=Link(),
                sending=listening.sending, answered=listening.answered,
            )  # fmt: skip
            return compare(adapter, listening, options.images, options.turns)
        finally:
            server.terminate()


def local(options: argparse.Namespace) -> dict[str, float]:
    """LeNet5 of random weights on the CPU, one thread."""
    spec, listening = TeacherSpec((1, 28, 28), (0.0, 1.0), 10, 256, "local"), _Listening()
    network = NetworkTeacher(build("lenet5", (1, 28, 28), 10, seed=0), spec)
    adapter = Batching(network, sending=listening.sending, answered=listening.answered)
    return compare(adapter, listening, options.images, options.turns)


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    told: dict[str, Any] = {"rows": {}}
    print(
        f"{'rows':>12}{'known':>10}{'unknown':>10}{'insert':>10}{'bytes':>8}   microseconds an image, calls of {_CALL}"
    )
    for rows in options.rows:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            file = None if options.url else Path(folder) / "answers.sqlite"
            store = open_answers(options.url or file)
            found = told["rows"][str(rows)] = measure_rows(store, rows, file)
        size = f"{found['bytes']:.1f}" if "bytes" in found else ""
        print(
            f"{rows:>12,}{found['known_us']:>10.2f}{found['unknown_us']:>10.2f}{found['insert_us']:>10.2f}{size:>8}",
            flush=True,
        )
    for name, work in (("remote", remote), ("local", local)):
        found = told[name] = work(options)
        rates = ", ".join(f"{key} {found[key]:,.0f}" for key in ("without", "with", "known"))
        print(f"{name}: {rates} images/s; with the store {found['ratio']:.3f} of without", flush=True)
    if options.json:
        write_json(options.json, told)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.answers", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 1_000_000], help="sizes of the store")
    parser.add_argument("--images", type=int, default=8192, help="of each turn of the teachers")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.005, help="that the remote teacher takes for a request")
    parser.add_argument("--url", help="address of a database, in place of a file")
    parser.add_argument("--folder", type=Path, help="where the files are written; else the temporary folder")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
