"""A row's project: laid like one of `db3 init`, run by DVC, stopped at any moment and continued where it was.

Each row has a project of its own below FOLDER/projects, without git; all share FOLDER/cache, so a stage with the same
parameters and code, above all the teacher of several rows, is computed once. Within a stage the pipeline's own shards
make a killed run go on.
"""

import os
import re
import time
from collections.abc import Sequence
from configparser import ConfigParser
from contextlib import ExitStack, chdir
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from db3.errors import Db3Error
from db3.files import read_json, write_json, write_text
from flows.compose import PARAMS, write_params
from flows.engine.dvc import CACHED, RUNS, dvc_environment, failure, start_dvc
from flows.engine.installed import LOCK, template
from flows.engine.locks import hold_lock
from flows.init import create, update

SECONDS = "seconds.json"
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
    else:
        create(folder, overrides)
    path, config, text = folder / ".dvc" / "config", ConfigParser(), StringIO()
    config.read(path, encoding="utf-8")
    config["core"]["no_scm"] = "true"  # wherever it lies: a checkout around it is not its own
    config["cache"] = {"dir": "../../../cache"}  # of all rows; DVC reads it from .dvc on
    config.write(text)
    write_text(path, text.getvalue())


def reproduce(folder: Path, data_root: Path | None) -> None:
    """Run what is not up to date; how long each stage took is added to FOLDER/seconds.json.

    Raises:
        RunError: a stage failed; its own line.
        BusyError: another benchmark is at work on this row.
    """
    lines: list[str] = []
    with ExitStack() as stack:
        stack.enter_context(chdir(folder))
        stack.enter_context(hold_lock("the benchmark", "run"))
        process = stack.enter_context(start_dvc(["repro", "report"], _environment(data_root)))
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
        raise RunError(failure(process.returncode, lines))


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
        if found := RUNS.search(line):
            self.stop(ended=True)
            self.stage, self.begun = found[1], time.monotonic()
            if self.known.get(found[1], {}).get("ended", True):
                self.known[found[1]] = {"seconds": 0.0, "ended": False, "cached": False}
                write_json(Path(SECONDS), self.known)
        elif found := CACHED.search(line):
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


def _environment(data_root: Path | None) -> dict[str, str]:
    """This checkout's code first; no server."""
    code = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    data = {"DB3_DATA_ROOT": str(data_root)} if data_root else {}
    found = dvc_environment(PYTHONPATH=os.pathsep.join(code), DB3_RUN=str(os.getpid()), **data)
    return {name: value for name, value in found.items() if name != "PREFECT_API_URL"}
