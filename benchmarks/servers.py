"""The servers of docs/guides/my-teacher.md, each in an environment of its own, asked about the same 1,000 images.

`python -m benchmarks.servers [PRESET …]` prints how many decisions differ from the network's. An environment NAME is a
folder below DB3_TEST_SERVERS (default `.db3/servers`), made by hand where it is wanted:

    uv venv .db3/servers/mlflow && uv pip install --python .db3/servers/mlflow mlflow onnx onnxruntime
    uv venv .db3/servers/litserve && uv pip install --python .db3/servers/litserve litserve onnxruntime
    uv venv .db3/servers/bentoml && uv pip install --python .db3/servers/bentoml bentoml pillow onnxruntime
    uv venv .db3/servers/kserve && uv pip install --python .db3/servers/kserve kserve onnxruntime

KServe's server listens on all interfaces, whatever it is told: it runs only where it is asked for by name.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import URLError
from urllib.request import urlopen

import torch
import yaml
from torch import Tensor

import db3
from db3.errors import ConfigError, DataError, unknown_name
from db3.settings.teacher import Link
from flows.engine.stage import run_entry_point
from tests.teachers.models import CLASSES, SHAPE, as_onnx, network

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = Path(os.environ.get("DB3_TEST_SERVERS", ROOT / ".db3/servers"))
SERVED = Path(__file__).parent / "served"


@dataclass(frozen=True)
class Server:
    """How one kind is started and asked.

    Attributes:
        environment: the folder of its own environment.
        command: what is run in it; `{port}`, `{model}` (an ONNX file), `{folder}` (empty) and `{grpc}` are filled in.
        ready: path that answers 200 once it is up.
        path: of its requests.
        more: settings beside the preset's.
        before: a command that is run first.
    """

    environment: str
    command: tuple[str, ...]
    ready: str
    path: str
    more: dict[str, Any]
    before: tuple[str, ...] = ()


_MLFLOW = "models serve -m {folder}/m --env-manager local -h 127.0.0.1 -p {port}"
_KSERVE = ("bin/python", f"{SERVED}/kserve_server.py", "{model}", "{port}", "{grpc}")
SERVERS = {
    "mlflow": Server(
        "mlflow",
        ("bin/mlflow", *_MLFLOW.split()),
        "/ping",
        "/invocations",
        {"http": {"answer": "predictions.logits"}},
        ("bin/python", f"{SERVED}/mlflow_model.py", "{model}", "{folder}/m"),
    ),
    "litserve": Server(
        "litserve", ("bin/python", f"{SERVED}/litserve_server.py", "{model}", "{port}"), "/health", "/predict", {}
    ),
    "bentoml": Server(
        "bentoml",
        ("bin/bentoml", *f"serve -p {{port}} --host 127.0.0.1 --working-dir {SERVED} bento_service:Classifier".split()),
        "/readyz",
        "/classify",
        {},
    ),
    "kserve": Server("kserve", _KSERVE, "/v2/health/ready", "", {"http": {"model": "lenet"}, "input": "images"}),
    "predict": Server("kserve", _KSERVE, "/v2/health/ready", "/v1/models/lenet:predict", {}),
}


def images(count: int = 1000) -> Tensor:
    """Blobs and noise of several contrasts, on the levels of a PNG."""
    drawn = torch.Generator().manual_seed(7)
    noise = torch.rand(count, *SHAPE, generator=drawn) * torch.rand(count, 1, 1, 1, generator=drawn)
    blobs = torch.nn.functional.interpolate(torch.rand(count, 1, 3, 3, generator=drawn), SHAPE[1:], mode="bilinear")
    return ((noise + blobs).clamp(0, 1.6) / 1.6 * 255).round() / 255


def decided(shown: Tensor) -> Tensor:
    """By the network itself."""
    with torch.inference_mode():
        return network()(shown).argmax(dim=1)


def asked(preset: str, url: str, **more: Any) -> db3.ModelTeacher:
    """The teacher that conf/teacher/PRESET.yaml describes, at an address."""
    described = yaml.safe_load((ROOT / f"conf/teacher/{preset}.yaml").read_text())
    http = {name: value for name, value in described["http"].items() if name != "url"} | more.pop("http", {})
    kept = {name: value for name, value in described.items() if name not in ("kind", "architecture", "labels", "http")}
    given = {"shape": SHAPE, "http": http, "link": Link(timeout=60.0), **kept, **more}
    return db3.teacher(url, **given) if "labels" in given else db3.teacher(url, classes=CLASSES, **given)


@contextmanager
def served(preset: str) -> Iterator[str]:
    """The address at which the network of `tests/teachers/models.py` answers.

    Raises:
        ConfigError: there is no such preset here, or no environment for it.
        DataError: the server did not come up.
    """
    if preset not in SERVERS:
        raise unknown_name("preset", preset, SERVERS)
    server = SERVERS[preset]
    environment = (ENVIRONMENTS / server.environment).absolute()
    if not environment.is_dir():
        raise ConfigError(
            f"{environment} is missing; expected an environment with {server.environment}: benchmarks/servers.py says "
            "how it is made, and DB3_TEST_SERVERS where"
        )
    with tempfile.TemporaryDirectory(prefix="db3-served-") as made:
        port, grpc = _free_port(), _free_port()
        places = {"port": port, "grpc": grpc, "folder": made, "model": as_onnx(Path(made, "m.onnx"), network())}
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        own = {"PATH": f"{environment}/bin:{os.environ['PATH']}", "DB3_MODEL": str(places["model"]), "HOME": made}
        more = {"OMP_NUM_THREADS": "1", "BENTOML_DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}

        def words(command: tuple[str, ...]) -> list[str]:
            return [str(environment / command[0]), *(word.format(**places) for word in command[1:])]

        if server.before:
            made_before = subprocess.run(words(server.before), env=kept | own | more, check=False, capture_output=True)
            if made_before.returncode:
                raise DataError(f"{words(server.before)[0]} failed: {_end(made_before.stderr.decode())}")
        with Path(made, "log").open("w") as log:
            process = subprocess.Popen(
                words(server.command), env=kept | own | more, stdout=log, stderr=log, cwd=made, start_new_session=True
            )
        try:
            _wait(process, f"http://127.0.0.1:{port}{server.ready}", Path(made, "log"))
            yield f"http://127.0.0.1:{port}{server.path}"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    end = time.monotonic() + 300
    while time.monotonic() < end and process.poll() is None:
        with suppress(URLError, OSError), urlopen(url, timeout=5) as answer:  # noqa: S310 - our own, on 127.0.0.1
            if answer.status == 200:
                return
        time.sleep(0.3)
    raise DataError(f"{url} did not answer; the end of the server's log: {_end(log.read_text())}")


def _end(text: str) -> str:
    return " ".join(text.split())[-400:]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def differing(preset: str, count: int = 1000) -> int:
    """How many decisions of a server differ from the network's."""
    shown = images(count)
    with served(preset) as url:
        teacher = asked(preset, url, **SERVERS[preset].more)
        told = torch.cat([teacher.decide(part) for part in shown.split(teacher.spec.max_batch)])
    return int((told != decided(shown)).sum())


def main() -> NoReturn:
    def work() -> str:
        presets = sys.argv[1:] or ["mlflow", "litserve", "bentoml"]
        for preset in presets:
            print(f"{preset}: {differing(preset)} of 1,000 differ", flush=True)
        return f"{len(presets)} servers were asked"

    run_entry_point(work)


if __name__ == "__main__":
    main()
