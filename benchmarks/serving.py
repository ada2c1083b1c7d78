"""MLServer in an environment of its own, as it would have in life, serving an ONNX file on 127.0.0.1.

`python -m benchmarks.serving MODEL.onnx PORT` serves a file until it is interrupted.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = Path(os.environ.get("DB3_TEST_MLSERVER", ROOT / ".db3" / "mlserver-1.7.1"))
# MLServer 1.7.1 breaks with newer fastapi; this project needs a newer one.
PACKAGES = ("mlserver==1.7.1", "fastapi<0.116", "onnxruntime")
RUNTIME = Path(__file__).parent / "served" / "runtime.py"


class UnavailableError(Exception):
    """There is no MLServer here, and none can be installed."""


def environment() -> Path:
    """The folder of an environment with MLServer; made when it is first needed, kept for the next time.

    Raises:
        UnavailableError: there is no uv, or the registry cannot be reached.
    """
    program = ENVIRONMENT / "bin" / "mlserver"
    ENVIRONMENT.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{ENVIRONMENT}.lock"):
        if program.is_file():
            return ENVIRONMENT
        own = Path(sys.executable).parent / "uv"
        uv = str(own) if own.is_file() else shutil.which("uv")
        if uv is None:
            raise UnavailableError("MLServer is installed with uv, which is not here")
        for command in (
            ["venv", "--clear", str(ENVIRONMENT)],
            ["pip", "install", "--python", str(ENVIRONMENT), *PACKAGES],
        ):
            try:
                subprocess.run([uv, *command], capture_output=True, text=True, timeout=600, check=True)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                shutil.rmtree(ENVIRONMENT, ignore_errors=True)
                reason = " ".join(str(error.stderr or error).split())[-200:]
                raise UnavailableError(f"MLServer cannot be installed: {reason}") from None
    return ENVIRONMENT


@contextmanager
def served(model: Path, name: str = "lenet", port: int | None = None, version: str = "1") -> Iterator[str]:
    """Serve an ONNX file with input `images` and output `logits`; yields the server's address."""
    mlserver = environment() / "bin" / "mlserver"
    graph = onnx.load(str(model), load_external_data=False).graph
    sizes = [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim[1:]]
    classes = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    with TemporaryDirectory(prefix="db3-served-") as made:
        folder = Path(made)
        shutil.copy(RUNTIME, folder)
        shutil.copy(model, folder / "model.onnx")
        http, grpc = _free_ports(2)
        http = port or http
        settings = {
            "host": "127.0.0.1",
            "http_port": http,
            "grpc_port": grpc,
            "metrics_endpoint": None,
            "parallel_workers": 0,
            "debug": False,
        }
        described = {
            "name": name,
            "implementation": "runtime.OnnxRuntime",
            "parameters": {"uri": "model.onnx", "version": version},
            "inputs": [{"name": "images", "datatype": "FP32", "shape": [-1, *sizes]}],
            "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, classes]}],
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "model-settings.json").write_text(json.dumps(described))
        log = folder / "server.log"
        with log.open("w") as output:
            kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            process = subprocess.Popen(
                [mlserver, "start", "."],
                cwd=folder,
                env=kept | {"OMP_NUM_THREADS": "1", "METRICS_DIR": str(folder)},
                stdout=output,
                stderr=output,
            )
        try:
            _wait(process, http, f"/v2/models/{name}/ready", log)
            yield f"http://127.0.0.1:{http}"
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int, path: str, log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except (OSError, HTTPException):
            time.sleep(0.1)
        finally:
            connection.close()
    raise AssertionError(f"MLServer did not start: {log.read_text()[-2000:]}")


def _free_ports(count: int) -> Sequence[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the server is stopped then, too
    with served(Path(sys.argv[1]), port=int(sys.argv[2])) as url:
        sys.stdout.write(f"{url} serves {sys.argv[1]} as `lenet`; interrupt to stop\n")
        sys.stdout.flush()
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
