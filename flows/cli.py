"""The command `db3`."""

import sys
from typing import NoReturn

_USAGE = """usage: db3 replay

  replay    recompute the transfer set from the sealed journals, without a teacher, and compare every file"""


def main() -> NoReturn:
    """Console script; `db3 replay` is `python -m flows.verify`."""
    name, *rest = [*sys.argv[1:], "--help"]
    if name == "replay":
        from flows.verify import main as replay

        replay(rest[:-1], "db3 replay")
    print(_USAGE, file=sys.stdout if name in ("--help", "-h") else sys.stderr)
    sys.exit(0 if name in ("--help", "-h") else 2)
