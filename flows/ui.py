"""`python -m flows.ui` (`make ui` in a clone): a Prefect server, a worker with the deployments of prefect.yaml and the
report, all on 127.0.0.1, until Ctrl-C or `python -m flows.ui stop`.

Server and worker are Prefect's own commands; the worker starts, limits and cancels the runs. Here stands only what
Prefect 3.8 leaves open: both end together and leave nothing behind, a killed worker is replaced, and its runs are
closed (`flows.tracking.orphans`; a server marks a silent worker offline, but leaves its runs as they are).
"""

import argparse
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, NoReturn

from flows.engine.locks import BusyError, require_idle
from flows.engine.stage import DATA, FOLDERS, run_entry_point
from flows.tracking.orphans import close_orphans
from flows.tracking.schedules import schedules_kept
from flows.tracking.server import ServerError

HOST = "127.0.0.1"
HOME = Path(".prefect")
POOL = "db3"
START_LIMIT = 180.0  # seconds; the first start migrates an empty database, 14-17 s on two free cores
ORPHAN_LIMIT = 20.0
STOP_LIMIT = 30.0  # longer than a running stage gets to end by itself

Process = subprocess.Popen[bytes]


def start(port: int) -> str:
    """Start the server, deploy the pipeline to it, start a worker; wait for Ctrl-C or `stop`.

    Raises:
        ServerError: it is running already, the port is taken, or something does not come up.
    """
    # A shell's background job would ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    url = f"http://{HOST}:{port}"
    with _pid_file("ui") as own, suppress(KeyboardInterrupt):
        _write_pid(own, os.getpid())
        _require_free(port)
        # The UI reads the address of the API from these settings, not from the command line.
        address = {"PREFECT_SERVER_API_HOST": HOST, "PREFECT_SERVER_API_PORT": str(port)}
        with _child("server", ["prefect", "server", "start"], address) as server, _report() as report:
            _wait_until_healthy(url, server)
            settings = {"PREFECT_API_URL": f"{url}/api", "DB3_REPORT_URL": report}
            print(f"Prefect UI: {url}  report: {report}  (Ctrl-C or `python -m flows.ui stop` ends them)", flush=True)
            while True:
                with _child("serve", ["flows.ui", "serve"], settings) as serving:
                    _watch(server, serving)
                print(f"the worker was killed (status {serving.returncode}); a new one is started", flush=True)
    return "ui: stopped"


def stop() -> str:
    """End what `start` began in another process, and children that outlived it."""
    ended = [_end(name) for name in ("ui", "serve", "server")]
    return "ui: stopped" if any(ended) else "ui: not running"


def serve() -> str:
    """Deploy prefect.yaml and become its worker: one run at a time, since a workspace allows one."""
    # What a killed worker has left may take some seconds to end; a run from the command line may take longer.
    _until(_idle, ORPHAN_LIMIT)
    if lost := close_orphans(POOL):
        print(f"runs that ended with an earlier worker, now marked as Crashed: {lost}", flush=True)
    deploy()
    print("db3-pipeline is deployed: Deployments, on-demand, Run; nightly comes at 02:00 UTC.", flush=True)
    worker = ["worker", "start", "--pool", POOL, "--type", "process", "--limit", "1", "--install-policy", "never"]
    os.execv(sys.executable, [sys.executable, "-m", "prefect", *worker])  # noqa: S606


def deploy() -> None:
    """Bring the server's pool and deployments up to date with prefect.yaml; schedules made in the UI stay.

    Raises:
        ServerError: one of Prefect's commands failed.
    """
    pool = ["prefect", "work-pool", "create", POOL, "--type", "process", "--overwrite"]
    with schedules_kept():
        for command in (pool, ["prefect", "--no-prompt", "deploy", "--all"]):
            _run(command)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        message = " ".join((done.stderr or done.stdout).split())
        raise ServerError(f"`{' '.join(command)}` ended with status {done.returncode}: {message[-300:]}")


@contextmanager
def _report() -> Iterator[str]:
    """Serve data/report on a free port: a page from http may not link to a file."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
            pass

    with ThreadingHTTPServer((HOST, 0), partial(Quiet, directory=str(DATA / FOLDERS["report"]))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{server.server_port}/"
        server.shutdown()


def main() -> NoReturn:
    parser = argparse.ArgumentParser(prog="python -m flows.ui", description=__doc__)
    parser.add_argument("action", choices=["start", "stop", "serve"], nargs="?", default="start")
    parser.add_argument("--port", type=int, default=4200)
    given = parser.parse_args()
    run_entry_point({"start": lambda: start(given.port), "stop": stop, "serve": serve}[given.action])


@contextmanager
def _child(name: str, module: Sequence[str], settings: Mapping[str, str]) -> Iterator[Process]:
    """`python -m MODULE` in a session of its own, so that this process decides when it is told to end."""
    command = [sys.executable, "-m", *module]
    quiet = _log(name).open("wb") if name == "server" else nullcontext()
    with _pid_file(name) as lock, quiet as output:
        environment = os.environ | settings
        child = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True, pass_fds=[lock.fileno()]
        )
        _write_pid(lock, child.pid)
    try:
        yield child
    finally:
        _end(name)
        child.wait()


def _idle() -> bool:
    with suppress(BusyError):
        require_idle("the worker")
        return True
    return False


def _watch(server: Process, serving: Process) -> None:
    """Wait until the worker is killed.

    Raises:
        ServerError: the server ended, or the worker did by itself: it would again.
    """
    while serving.poll() is None and server.poll() is None:
        time.sleep(0.5)
    if server.poll() is not None:
        raise ServerError(f"the Prefect server ended with status {server.returncode}; see {_log('server')}")
    if serving.returncode >= 0:
        raise ServerError(f"the worker ended with status {serving.returncode}; its last lines are above")


def _wait_until_healthy(url: str, server: Process) -> None:
    def healthy() -> bool:
        if server.poll() is not None:
            raise ServerError(f"the Prefect server ended with status {server.returncode}; see {_log('server')}")
        with suppress(OSError), urllib.request.urlopen(f"{url}/api/health", timeout=5) as answer:  # noqa: S310 - http
            return bool(answer.status == 200)
        return False

    if not _until(healthy, START_LIMIT):
        raise ServerError(f"the Prefect server did not answer within {START_LIMIT:.0f} s; see {_log('server')}")


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ServerError(f"port {port}: {reason}; choose another: `python -m flows.ui --port 4300`") from error


@contextmanager
def _pid_file(name: str) -> Iterator[IO[str]]:
    """A file locked for as long as this process, or a child that is given the open file, lives."""
    path = HOME / f"{name}.pid"
    try:
        HOME.mkdir(exist_ok=True)
        opened = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise ServerError(
            f"cannot write {path} ({error.strerror}): Prefect keeps its files there; make this folder writable"
        ) from error
    with opened as file:
        if not _lock(file):
            raise ServerError("the UI is running in this folder already; end it with `python -m flows.ui stop`")
        yield file


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_pid(file: IO[str], pid: int) -> None:
    file.seek(0)
    file.truncate()
    file.write(str(pid))
    file.flush()


def _end(name: str) -> bool:
    """End the process that holds this pid file's lock: only then is the pid in it that process's."""
    path = HOME / f"{name}.pid"
    if not path.is_file():
        return False
    with path.open("a+", encoding="utf-8") as file:
        if _lock(file):
            return False
        pid = int(path.read_text(encoding="utf-8"))
        # A child leads a group of its own: a flow run that it started has to hear of the end, too.
        send = os.kill if name == "ui" else os.killpg
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                send(pid, number)
            if _until(lambda: _lock(file), STOP_LIMIT * (3 if name == "ui" else 1)):
                return True
    raise ServerError(f"process {pid} ({name}) does not end; end it by hand")


def _log(name: str) -> Path:
    return HOME / f"{name}.log"


def _until(happened: Callable[[], bool], limit: float) -> bool:
    end = time.monotonic() + limit
    while not happened():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


if __name__ == "__main__":
    main()
