"""Shards on the workers of a cluster: the same bytes, one opened teacher a worker, nothing lost with a worker."""

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db3.errors import ConfigError
from flows.config import Runtime
from flows.engine.remote_work import WorkerError, pickle_work, run_shard
from flows.engine.runners import ClusterError, open_runner
from tests.flows.conftest import ROOT

SCRIPT = Path(__file__).parent / "cluster.py"


def run(folder: Path, runner: str, *prefix: str, **environment: str) -> dict[str, Any]:
    """Run cluster.py, as a stage is run: in a process of its own. What it tells of the shards."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DB3_", "RAY_"))}
    done = subprocess.run(
        [*prefix, sys.executable, str(SCRIPT), runner],
        cwd=folder,
        env=kept | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(tmp_path_factory.mktemp("plain"), "local")


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("dask")
    return run(folder, "dask") | {"left": [path.name for path in folder.glob("*staging*")]}


def test_on_dask_workers_every_byte_is_the_same(plain: dict[str, Any], dask: dict[str, Any]) -> None:
    assert dask["digests"] == plain["digests"]
    assert dask["left"] == []


def test_each_worker_opens_its_teacher_once(dask: dict[str, Any]) -> None:
    assert len(dask["opened"]) == len(set(dask["opened"])) == 2
    assert dask["driver"] not in dask["opened"]


def test_shards_of_a_lost_worker_are_redone_by_another(plain: dict[str, Any], dask: dict[str, Any]) -> None:
    assert dask["died"]
    assert dask["lost"] == plain["lost"]


def test_an_error_of_a_shard_is_the_error_of_the_run_and_what_was_finished_is_kept(dask: dict[str, Any]) -> None:
    assert dask["error"] == "DataError: shard 3 is wrong; fix it"
    assert 1 <= dask["kept"] < 8


def test_a_worker_with_other_code_or_another_folder_is_refused(tmp_path: Path) -> None:
    sent = pickle_work(print, 1, tmp_path / "staging")
    with pytest.raises(WorkerError, match=r"another version of numpy .* than the driver \(1.0\)"):
        run_shard(replace(sent, key="a", versions=(*sent.versions[:2], "1.0", sent.versions[3])), 0)
    with pytest.raises(WorkerError, match="does not see the files"):
        run_shard(replace(sent, key="b", probe=str(tmp_path / "elsewhere")), 0)
    run_shard(sent, 0)


def test_large_arrays_travel_by_file_and_mapped_ones_by_name(tmp_path: Path) -> None:
    np.save(tmp_path / "mapped.npy", np.arange(1 << 20))
    mapped, large = np.load(tmp_path / "mapped.npy", mmap_mode="r"), np.arange(1 << 20)
    sent = pickle_work(lambda index: (mapped, large, index), 1, tmp_path / "staging")
    assert len(sent.pickled) < 10_000
    assert len(list((tmp_path / "staging").glob("*.npy"))) == 1


def test_on_ray_workers_every_byte_is_the_same(
    plain: dict[str, Any], isolated: tuple[str, ...], tmp_path: Path
) -> None:
    home = tmp_path / "home"  # Ray writes a token there
    home.mkdir()
    told = run(tmp_path, "ray", *isolated, HOME=str(home))
    assert told["digests"] == plain["digests"]
    assert told["lost"] == plain["lost"]
    assert told["died"]
    assert len(told["opened"]) == len(set(told["opened"]))
    assert told["error"] == "DataError: shard 3 is wrong; fix it"


@pytest.mark.parametrize(("runner", "start"), [("dask", "dask scheduler"), ("ray", "ray start --head")])
def test_an_address_where_nobody_answers_is_named(runner: str, start: str, tmp_path: Path) -> None:
    runtime = Runtime(runner=runner, address="127.0.0.1:9", device="cpu")
    with (
        pytest.raises(ClusterError, match=rf"127.0.0.1:9, but no {runner.title()} cluster .*refused.*`{start}`"),
        open_runner(print, runtime, tmp_path / "staging"),
    ):
        pass


def test_an_address_where_something_else_answers_is_named(tmp_path: Path) -> None:
    """As a web server or a proxy does: Dask takes its words for the length of a message, and asks for that memory."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        threading.Thread(target=_answer, args=(listener,), daemon=True).start()
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        runtime = Runtime(runner="dask", address=address, device="cpu")
        with (
            pytest.raises(ClusterError, match=rf"{address}, but no Dask cluster answers there \("),
            open_runner(print, runtime, tmp_path / "staging"),
        ):
            pass


def _answer(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)


def test_the_device_of_far_workers_has_to_be_named(tmp_path: Path) -> None:
    runtime = Runtime(runner="dask", address="127.0.0.1:9", device="auto")
    with pytest.raises(ConfigError, match=r"runtime.device=cuda"), open_runner(print, runtime, tmp_path / "staging"):
        pass


def test_nothing_is_opened_where_nothing_is_to_do(tmp_path: Path) -> None:
    for runner in ("local", "threads"):
        with open_runner(print, Runtime(runner=runner), tmp_path) as work:
            assert work is print
