"""A row's project: laid like one of `db3 init`, run by DVC, stopped at any moment and continued where it was.

Each row has a project of its own below FOLDER/projects, without git; all share FOLDER/cache, so a stage with the same
parameters and code, above all the teacher of several rows, is computed once. Within a stage the pipeline's own shards
make a killed run go on.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from db3.errors import Db3Error
from db3.files import read_json, write_json, write_text
from flows.compose import PARAMS, write_params
from flows.engine.installed import LOCK, template
from flows.engine.locks import hold_lock
from flows.init import create, update

SECONDS = "seconds.json"
_GRACE = 20.0  # seconds that DVC and its stage get to end by themselves
_RUNS = re.compile(r"Running stage '(\w+)':")
_CACHED = re.compile(r"Stage '(\w+)' is cached")
_ERROR = re.compile(r"(?:error|ERROR): (.*)")
_FORWARDED = re.compile(r"^(\w+: |warning: |error: |Running stage )")


class RunError(Db3Error):
    """A stage of a row failed."""


def prepare(folder: Path, overrides: Sequence[str]) -> None:
    """Lay the project of a row, or bring the one that is there up to these parameters and the code installed.

    Raises:
        ConfigError: the parameters are wrong, or something else is in the folder.
        BusyError: it is at work.
    """
    if (folder / LOCK).is_file():
        update(folder)
        write_params(overrides, template() / "conf", folder / PARAMS)
        return
    create(folder, overrides)
    config = ConfigParser()
    path = folder / ".dvc" / "config"
    config.read(path, encoding="utf-8")
    config["core"]["no_scm"] = "true"  # wherever it lies: a checkout around it is not its own
    config["cache"] = {"dir": "../../../cache"}  # of all rows; DVC reads it from .dvc on
    text = StringIO()
    config.write(text)
    write_text(path, text.getvalue())


def reproduce(folder: Path, data_root: Path | None) -> None:
    """Run what is not up to date; how long each stage took is added to FOLDER/seconds.json.

    Raises:
        RunError: a stage failed; its own line.
        BusyError: another benchmark is at work on this row.
    """
    command = [sys.executable, "-m", "dvc", "repro", "report"]
    lines: list[str] = []
    with chdir(folder), hold_lock("the benchmark", "run"), _ended(command, _environment(data_root)) as process:
        clock = _Clock()
        try:
            for line in process.stdout or ():
                lines.append(line.rstrip())
                clock.hear(lines[-1])
                if _FORWARDED.match(lines[-1]):
                    print(f"  {lines[-1]}", flush=True)
            clock.stop(ended=process.wait() == 0)
        finally:
            clock.stop(ended=False)
    if process.returncode:
        errors = [found[1] for line in lines if (found := _ERROR.search(line))]
        raise RunError(errors[0] if errors else f"dvc ended with status {process.returncode}: {' / '.join(lines[-3:])}")


def seconds(folder: Path) -> dict[str, dict[str, float | bool]]:
    """By stage: `seconds` of this row's runs of it, and whether it was `cached`, computed for another row before."""
    return dict(read_json(folder / SECONDS)) if (folder / SECONDS).is_file() else {}


@dataclass
class _Clock:
    """How long stages take: one that was interrupted goes on counting, one that ended and runs again begins anew."""

    stage: str | None = None
    begun: float = 0.0
    known: dict[str, dict[str, float | bool]] = field(default_factory=lambda: seconds(Path()))

    def hear(self, line: str) -> None:
        """A line of DVC's."""
        if found := _RUNS.search(line):
            self.stop(ended=True)
            self.stage, self.begun = found[1], time.monotonic()
            if self.known.get(found[1], {}).get("ended", True):
                self.known[found[1]] = {"seconds": 0.0, "ended": False, "cached": False}
                write_json(Path(SECONDS), self.known)
        elif found := _CACHED.search(line):
            self.stop(ended=True)
            self.known[found[1]] = {"seconds": 0.0, "ended": True, "cached": True}

    def stop(self, ended: bool) -> None:
        """The stage at work is over."""
        if self.stage:
            entry = self.known[self.stage]
            taken = float(entry["seconds"]) + time.monotonic() - self.begun
            self.known[self.stage] = entry | {"seconds": round(taken, 1), "ended": ended}
        self.stage = None
        write_json(Path(SECONDS), self.known)


@contextmanager
def _ended(command: Sequence[str], environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """A process in a session of its own, whose whole group ends with this block."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        except BaseException:
            for number in (signal.SIGINT, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=_GRACE)
            raise


def _environment(data_root: Path | None) -> dict[str, str]:
    """This interpreter and this checkout first; no server, and no other run's identity."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DVC_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    code = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    mine = {"PATH": path, "PYTHONPATH": os.pathsep.join(code), "DB3_RUN": str(os.getpid())}
    return kept | mine | ({"DB3_DATA_ROOT": str(data_root)} if data_root else {})
