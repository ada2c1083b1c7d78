"""What distribution gains and orchestration costs: `python -m benchmarks.scaling --json FILE`.

- `speedup.dask_2`, `speedup.ray_2`: shards of a CPU-bound teacher with one thread per worker, on two workers against
  one, the workers' start apart; the same for two threads. Ray listens on every interface, so it runs in a network
  namespace of its own, and is null where that is not allowed or Ray is not installed.
- `overhead_per_shard_ms`: a shard that computes nothing, kept in the store.
- `overhead_per_stage_s.plain`: `dvc repro` of a stage that computes nothing, less the bare `python -m` of it;
  `.server`: the same stage as a flow run of a Prefect server that is up, against one without.
- `estimate`: what an ImageNet-sized transfer set by a fleet of HTTP teachers takes, from unit costs measured here.

Everything runs in a temporary folder and takes a few minutes; run it on an idle machine.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import torch

from db3.digest import digest_json
from db3.networks import build
from db3.shard_store import ShardStore
from flows.config import Runtime
from flows.engine import runners
from flows.engine.shards import map_shards

ROOT = Path(__file__).resolve().parents[1]
SHARDS, CALLS = 24, 10  # shards a run, and teacher calls in each: about a fifth of a second of work
EMPTY = 50  # shards that compute nothing
LIMIT = 100.0  # seconds that a part may take

_PROJECT = """
from flows.engine.stage import stage

@stage("nothing")
def nothing(config, data):
    \"\"\"Write one small file.\"\"\"
    (data / "nothing" / "x").write_text("x")
    return "done"

if __name__ == "__main__":
    nothing.cli()
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--part", choices=["shards"], help=argparse.SUPPRESS)
    parser.add_argument("--runner", default="local", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps(measure_runner(given.runner)))
        return
    figures = measure()
    text = json.dumps(figures, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = {runner: _in_process(runner, folder / runner) for runner in ("local", "threads", "dask", "ray")}
        local = runs["local"] or {}
        plain, server = _stages(folder / "project")
    return {
        "speedup": {f"{name}_2": runs[name] and runs[name]["speedup"] for name in ("threads", "dask", "ray")},
        "start_s": {name: runs[name] and runs[name]["start_s"] for name in ("dask", "ray")},
        "overhead_per_shard_ms": {name: run and run["overhead_ms"] for name, run in runs.items()},
        "overhead_per_stage_s": {"plain": plain, "server": server},
        "seconds_of_one_shard": local.get("shard_s"),
        "estimate": estimate(local.get("overhead_ms", 0.0) / 1000),
        "cores": os.cpu_count(),
    }


def measure_runner(runner: str) -> dict[str, float]:
    """Seconds for the same shards by one worker and by two, each after a shard that only starts the workers."""
    seconds, starts, overheads = {}, [], []
    for workers in (1, 2):
        runtime = Runtime(runner=runner, workers=workers)
        begun = time.perf_counter()
        _map(runtime, "start", 2 * workers, 1)
        starts.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        _map(runtime, "work", SHARDS, CALLS)
        seconds[workers] = time.perf_counter() - begun
        begun = time.perf_counter()
        _map(runtime, "empty", EMPTY, 0)
        overheads.append((time.perf_counter() - begun) / EMPTY * 1000)
        shutil.rmtree("store")
    runners.close()
    return {
        "speedup": round(seconds[1] / seconds[2], 3),
        "start_s": round(starts[1], 2),
        "overhead_ms": round(overheads[0], 3),
        "shard_s": round(seconds[1] / SHARDS, 3),
    }


def _map(runtime: Any, what: str, count: int, calls: int) -> None:
    keys = [digest_json([what, index, os.getpid(), time.time()]) for index in range(count)]
    map_shards(what, keys, _Work(calls), runtime, [1] * count, "shard", store=ShardStore(Path("store")))


class _Work:
    """A shard: so many calls of a CPU-bound teacher (LeNet5, 256 images a call)."""

    def __init__(self, calls: int) -> None:
        self._calls, self._local = calls, threading.local()

    def __call__(self, index: int) -> dict[str, Any]:
        if not self._calls:
            return {"x": np.zeros(1)}
        if not hasattr(self._local, "network"):
            self._local.network = build("lenet5", (1, 28, 28), 10, seed=0).eval()
        images = torch.rand(256, 1, 28, 28, generator=torch.Generator().manual_seed(index))
        with torch.inference_mode():
            total = sum(int(self._local.network(images).argmax(1).sum()) for _ in range(self._calls))
        return {"x": np.array(total)}


def _in_process(runner: str, folder: Path) -> dict[str, float] | None:
    """`measure_runner` in a process of its own; None where this runner cannot run here."""
    folder.mkdir()
    prefix: list[str] = []
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if runner == "ray":
        isolated = ["unshare", "--net", "--map-root-user", "sh", "-c"]
        if not shutil.which("unshare") or subprocess.run([*isolated, "ip link set lo up"], check=False).returncode:
            return None
        prefix = [*isolated, 'ip link set lo up && exec "$@"', "sh"]
        environment["HOME"] = str(folder)
    command = [*prefix, sys.executable, "-m", "benchmarks.scaling", "--part", "shards", "--runner", runner]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        sys.stderr.write(f"{runner}: not done within {LIMIT:.0f} s; is this machine busy?\n")
        return None
    if done.returncode:
        sys.stderr.write(f"{runner}: {done.stderr[-500:]}\n")
        return None
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _stages(folder: Path) -> tuple[float, float | None]:
    """Seconds that DVC adds to a bare stage, and that a Prefect server which is up adds to that."""
    shutil.copytree(ROOT / "conf", folder / "conf")
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "data").mkdir()
    (folder / "nothing.py").write_text(_PROJECT)
    (folder / "dvc.yaml").write_text("stages: {nothing: {cmd: python nothing.py, outs: [data/nothing]}}\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DB3_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    environment = kept | {"PYTHONPATH": str(ROOT), "PATH": path, "PREFECT_HOME": str(folder / ".prefect")}

    def run(*command: str, **more: str) -> float:
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *command], cwd=folder, env=environment | more, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-500:]}")
        return time.perf_counter() - begun

    run("-m", "dvc", "init", "--no-scm", "--quiet")
    repro = ("-m", "dvc", "repro", "--quiet", "--force")
    bare, plain = _median(lambda: run("nothing.py")), _median(lambda: run(*repro))
    empty = _median(lambda: run("-m", "dvc", "status", "--quiet"))
    port = _free_port()
    address = {"PREFECT_SERVER_API_HOST": "127.0.0.1", "PREFECT_SERVER_API_PORT": str(port)}
    with subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start"],
        cwd=folder,
        env=environment | address | {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        url = f"http://127.0.0.1:{port}/api"
        try:
            _wait(f"{url}/health")
            run("nothing.py", PREFECT_API_URL=url)
            tracked = _median(lambda: run("nothing.py", PREFECT_API_URL=url))
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
    # DVC's own start is paid once a repro, not once a stage.
    return round(max(0.0, plain - bare - empty), 3), round(tracked - bare, 3)


def _median(seconds: Any, times: int = 3) -> float:
    return statistics.median(seconds() for _ in range(times))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(url: str) -> None:
    end = time.monotonic() + LIMIT
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - http, on this machine
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.3)


def estimate(shard_s: float) -> dict[str, Any]:
    """An ImageNet-sized transfer set by a fleet of HTTP teachers, from unit costs.

    Assumed: 1,281,167 images, 100 queries each, 64 teachers of 500 images a second, a shard of 50 samples; journal: one
    answer (2 bytes for 1,000 classes) a query; store: 9 boundary points of 224 x 224 x 3 bytes a sample, 150 kB each.
    """
    images, queries, teachers, rate, size = 1_281_167, 100, 64, 500, 50
    total, shards = images * queries, -(-images // size)
    return {
        "images": images,
        "queries": total,
        "teacher_hours_of_fleet": round(total / (teachers * rate) / 3600, 2),
        "shards": shards,
        "orchestration_hours": round(shards * shard_s / 3600, 3),
        "journal_gb": round(total * 2 / 1e9, 2),
        "points_tb": round(images * 9 * 224 * 224 * 3 / 1e12, 3),
    }


if __name__ == "__main__":
    main()
