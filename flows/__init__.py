"""The stages of the pipeline and the machine they run in.

`python -m flows.STAGE` is what dvc.yaml calls. Prefect reads its settings once, when it is imported, so the ones that
matter are set here, before any module of this package can import it; a value already in the environment wins.
"""

import os
import sys
import warnings
from pathlib import Path
from types import TracebackType

_PREFECT = {
    # Server database and results stay inside the project (git-ignored), whatever else the user runs with Prefect.
    "PREFECT_HOME": str(Path(".prefect").resolve()),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # The first start on an empty PREFECT_HOME migrates a database: 14-17 s measured, the default limit is 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # The UI keeps every record; the terminal belongs to the stage, which says what happened in one line.
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_CLI_PROMPT": "false",
}

for _name, _value in _PREFECT.items():
    os.environ.setdefault(_name, _value)

# In a folder that cannot be written, whoever has to write there says so in one line.
warnings.filterwarnings("ignore", "Failed to create the Prefect home directory", UserWarning)


_EXTRA = {"dvc", "hydra", "omegaconf", "prefect", "psutil", "pydantic", "ruamel"}  # of db3[pipeline]


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C or a missing package while a stage's own imports are under way, before it can say anything itself."""
    if isinstance(error, ModuleNotFoundError) and (package := str(error.name).partition(".")[0]) in _EXTRA:
        remedy = f"needs the package {package}, which is not installed: pip install 'db3[pipeline]'"
        print(f"error: the pipeline {remedy}", file=sys.stderr)
        return
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    print("interrupted; finished shards are kept, run again to continue", file=sys.stderr, flush=True)
    os._exit(130)


def _require_root() -> None:
    """Refuse to run elsewhere than in a project's root: what is imported next makes folders and servers there."""
    marks = ("params.yaml", "dvc.yaml", "conf/config.yaml")
    if {"-h", "--help"} & set(sys.argv) or any(Path(mark).is_file() for mark in marks):
        return
    print(
        f"error: {Path.cwd()} holds no params.yaml, dvc.yaml or conf/: run in the project's root, or "
        "create one with `db3 init FOLDER`",
        file=sys.stderr,
    )
    sys.exit(1)


if sys.argv[:1] == ["-m"]:  # as long as `python -m` looks for the module to run, which is in this package
    sys.excepthook = _tell
    _require_root()
