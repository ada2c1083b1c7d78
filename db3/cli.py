"""The command `db3`."""

import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from db3.errors import Db3Error
from db3.extras import needs

_USAGE = """usage: db3 replay | db3 answers COMMAND

  replay    recompute the transfer set from the sealed journals, without a teacher, and compare every file
  answers   list, export, import, forget or check what teachers have answered (db3 answers --help)"""


def main() -> NoReturn:
    """Console script; `db3 replay` is `python -m flows.verify`, `db3 answers` is `db3.teachers.answers.command`."""
    name, *rest = sys.argv[1:] or [""]
    if name == "replay":
        _replay(rest)
    if name == "answers":
        sys.exit(import_module("db3.teachers.answers.command").main(rest))
    out = sys.stdout if name in ("--help", "-h") else sys.stderr
    out.write(_USAGE + "\n")
    sys.exit(0 if out is sys.stdout else 2)


def _replay(arguments: list[str]) -> NoReturn:
    """Run the pipeline's own check; the pipeline is a part of the repository and no part of the installed package."""
    if not Path("flows/verify.py").is_file():
        sys.stderr.write(
            f"db3: replay finds no pipeline in {Path.cwd()}; expected a clone of db3's repository, with flows/ and "
            "params.yaml: run it there, with 'db3[pipeline]' installed\n"
        )
        sys.exit(2)
    sys.path.insert(0, str(Path.cwd()))  # as `python -m flows.verify` does
    try:
        with needs("pipeline", "replay"):
            verify = import_module("flows.verify")
    except Db3Error as error:
        sys.stderr.write(f"db3: {error}\n")
        sys.exit(2)
    verify.main(arguments, "db3 replay")
    raise AssertionError("flows.verify.main ends the process")
