"""A stage: a function from parameters and the data folder to files, with an entry point and a Prefect flow.

Example, the module flows/samples.py:
    @stage("samples")
    def samples(config: Config, data: Path) -> str:
        ...
        return "400 samples, 400 queries asked"


    if __name__ == "__main__":
        samples.cli()
"""

import argparse
import errno
import importlib
import io
import logging
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from db3.errors import ConfigError, DataError, Db3Error
from db3.progress import show_progress
from db3.publish.sinks import check_sinks
from db3.settings.declare import to_json
from flows.config import Config, describe, load_config, parse_config
from flows.engine.installed import check_code
from flows.engine.locks import end_with_processes, find_callers, hold_lock
from flows.engine.threads import set_threads

if TYPE_CHECKING:
    from prefect import Flow

DATA = Path("data")
# The one folder below data/ that each stage writes.
FOLDERS = {
    "fetch_teacher": "teacher",
    "samples": "samples",
    "query_decisions": "decisions",
    "soft_labels": "transfer",
    "distill": "student",
    "evaluate": "evaluation",
    "report": "report",
}

Body = Callable[[Config, Path], str]


def stage(name: str, folder: str | None = None, estimate: str | None = None) -> Callable[[Body], "Stage"]:
    """Make a stage of a function `(config, data) -> summary line`.

    Args:
        name: of the stage in dvc.yaml, and of its flow in Prefect.
        folder: below data/, written by this stage alone; by default the one in FOLDERS.
        estimate: module whose `estimate(config, data)` says what the stage will cost: no part of it, so by name.
    """
    return lambda body: Stage(name, body, folder or FOLDERS.get(name, name), estimate)


class Stage:
    """A stage of the pipeline. Calling it runs the body and nothing else.

    Attributes:
        name: of the stage and of its flow.
        folder: the one folder below data/ that it writes.
    """

    def __init__(self, name: str, body: Body, folder: str, estimate: str | None = None) -> None:
        self.name, self.folder, self._body, self._estimate = name, folder, body, estimate
        self.__doc__, self.__module__ = body.__doc__, body.__module__

    def __repr__(self) -> str:
        return f"Stage({self.name!r})"

    def __call__(self, config: Config, data: Path) -> str:
        """Run the body: read the folders before this stage's, write this stage's, say in one line what was done."""
        return self._body(config, data)

    def run(self, config: Config, data: Path = DATA) -> str:
        """Run into an empty folder: as a Prefect flow run when PREFECT_API_URL is set, plainly when not.

        Raises:
            BusyError: another stage, or a pipeline that this stage is no part of, is at work in the current folder.
            Whatever the body raises.
        """
        with ExitStack() as stack:
            if "DB3_RUN" not in os.environ:
                stack.enter_context(hold_lock(f"the stage {self.name}", "run"))
            stack.enter_context(hold_lock(f"the stage {self.name}", "stage"))
            stack.callback(_close_cluster)
            set_threads(config.runtime.threads)
            tracked = bool(os.environ.get("PREFECT_API_URL"))
            if tracked:
                from flows.tracking.server import require_server

                require_server()
            check_sinks(config.runtime.sinks)  # told of a run at its end, but missing packages before it
            _empty(data / self.folder)
            return self._tracked(config, data) if tracked else self(config, data)

    def _tracked(self, config: Config, data: Path) -> str:
        from prefect.task_runners import ThreadPoolTaskRunner

        from flows.tracking.tasks import run_linked

        workers = 1 if config.runtime.runner == "local" else config.runtime.workers
        flow = self.flow().with_options(
            task_runner=ThreadPoolTaskRunner(max_workers=workers), flow_run_name=f"{self.name}: {describe(config)}"
        )
        return run_linked(flow, {"parameters": to_json(config), "data": str(data)})

    def flow(self) -> "Flow[..., Any]":
        """This stage as a Prefect flow of (parameters, data); built here because importing Prefect takes a second."""
        from prefect import flow
        from prefect.states import Completed

        def run(parameters: dict[str, Any], data: str = str(DATA)) -> Any:
            report_to_stderr()
            summary = self(parse_config(parameters), Path(data))
            return Completed(message=summary, data=summary)

        run.__doc__ = self.__doc__
        return flow(name=self.name, persist_result=False)(run)

    def cli(self) -> NoReturn:
        """Run with params.yaml in the current folder, print the summary, exit.

        Exit status: 0 done, 1 an error that is told in one line on stderr, 130 interrupted. DB3_TRACEBACK=1 adds the
        traceback. An exception that db3 does not know is a defect and keeps its traceback.
        """
        parser = argparse.ArgumentParser(prog=f"python -m flows.{self.name}", description=self.__doc__)
        if self._estimate:
            parser.add_argument("--estimate", action="store_true", help="say what it will ask, take and cost, and end")
        if self._estimate and parser.parse_args().estimate:
            estimate: Body = importlib.import_module(self._estimate).estimate
            run_entry_point(lambda: estimate(load_config(), DATA))
        parser.parse_args()
        end_with_processes(find_callers())

        def work() -> str:
            check_code(self.name)
            config = load_config()
            summary = self.run(config)
            if load_config() != config:
                raise ConfigError(
                    "params.yaml was changed while this stage ran with the former values, so its outs belong to "
                    "neither; run again"
                )
            return f"{self.name}: {summary}"

        run_entry_point(work)


def run_entry_point(work: Callable[[], str]) -> NoReturn:
    """Do the work of an entry point, print the line it returns and end the process with the fitting status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of ASCII alone shows ± as \xb1, after hours of work
            stream.reconfigure(errors="backslashreplace")
    report_to_stderr()
    try:
        print(work(), flush=True)
    except (Db3Error, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENOSPC:
            raise
        print(f"error: {_one_line(error)}", file=sys.stderr)
        if os.environ.get("DB3_TRACEBACK") == "1":
            traceback.print_exc()
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; finished shards are kept, run again to continue", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        # A plain exit would wait for the shards still running in threads; files appear whole or not at all.
        os._exit(130)
    sys.exit(0)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what is stderr at the moment of the message."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def report_to_stderr() -> None:
    """Show progress, and the warnings that db3 and the stages log; the library alone shows neither."""
    show_progress()
    for name in ("db3", "flows"):
        logger = logging.getLogger(name)
        if not any(isinstance(handler, _Stderr) for handler in logger.handlers):
            handler = _Stderr()
            handler.setFormatter(logging.Formatter("warning: %(message)s"))
            handler.setLevel(logging.WARNING)
            logger.addHandler(handler)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError):
        place = f" while writing {error.filename}" if error.filename else ""
        return f"no space left on the device{place}; free some, then run again: finished shards are kept"
    return " ".join(str(error).split())


def _empty(folder: Path) -> None:
    """DVC removes a stage's outs before the run; a run by hand must not find an earlier run's files either.

    Raises:
        DataError: something else is in its place, or it may not be written.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        found = "a symbolic link" if folder.is_symlink() else "a file"
        raise DataError(f"{folder} is {found}; expected a folder, which the stage writes anew: move it away")
    try:
        if folder.is_dir():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise DataError(
            f"cannot empty {folder} ({error.strerror}: {error.filename}); the stage writes it anew: make it writable"
        ) from error


def _close_cluster() -> None:
    if "flows.engine.runners" in sys.modules:
        sys.modules["flows.engine.runners"].close()
