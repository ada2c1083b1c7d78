"""DVC, driven by its command line: a process whose group ends with its caller, and what its lines mean."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

GRACE = 8.0  # seconds that an interrupted stage gets to end by itself
RUNS = re.compile(r"Running stage '(.*)':")
CACHED = re.compile(r"Stage '(.*)' is cached - skipping run, checking out outputs")
SKIPPED = re.compile(r"Stage '(.*)' didn't change, skipping")
_ERROR = re.compile(r"(?:error|ERROR): (.*)")


@contextmanager
def start_dvc(arguments: Sequence[str], environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """`dvc ARGUMENTS` in a session of its own, all output on its stdout; its whole group ends with this block.

    A killed `dvc` leaves its stage running otherwise.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
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
            _end_group(process)
            raise


def dvc_environment(**more: str) -> dict[str, str]:
    """This environment's interpreter first on the PATH (dvc.yaml says `python`), without a Prefect run's identity."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT__")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return kept | {"PATH": path} | more


def failure(status: int, lines: Sequence[str]) -> str:
    """One line from the output of a failed stage: its own error first, then DVC's."""
    errors = [found[1] for line in lines if (found := _ERROR.search(line))]
    if any("is busy, it is being blocked by" in line for line in lines):
        holder = next((line.strip() for line in lines if line.startswith("  (PID ")), "no process named")
        return (
            f"another DVC command is at work in this folder: {holder}; wait until it ends, then run again, or remove "
            ".dvc/tmp/rwlock where that process is none of DVC's (a lock from before a restart of the machine)"
        )
    if errors and errors[0].endswith("is not a git repository"):
        return f"{errors[0]}; make it one (`git init`), or do without versions (`dvc config core.no_scm true`)"
    return errors[0] if errors else f"dvc ended with status {status} and said nothing of an error; see the run's log"


def _end_group(process: "subprocess.Popen[str]") -> None:
    """Ctrl-C for the group, which lets DVC release its locks; then SIGKILL for what is left."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        # Reads what is still written: a process with a full or broken pipe would not end well.
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=GRACE)
