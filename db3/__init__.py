"""db3: knowledge distillation from a teacher that answers with nothing but its decision (top-1 class).

The public names stand in `__init__.pyi`, one line each, for people, type checkers and this module alike. A name's
module is imported when the name is first used, so that `import db3` takes milliseconds and needs no extra.

Silent by default: what is worth a word goes to loggers below `db3`, and progress is shown where it is asked for
(`db3.progress.show_progress`).
"""

import ast
import logging
from importlib import import_module
from pathlib import Path
from typing import Any

logging.getLogger(__name__).addHandler(logging.NullHandler())

_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
_SOURCE = {
    alias.asname or alias.name: (str(node.module), alias.name)
    for node in _STUB.body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}
__all__ = sorted(_SOURCE)  # noqa: PLE0605  (read from the stub)


def __getattr__(name: str) -> Any:
    if name not in _SOURCE:
        raise AttributeError(f"db3 has no {name!r}; its public names are in db3.__all__")
    module, attribute = _SOURCE[name]
    found = getattr(import_module(module), attribute)
    globals()[name] = found  # asked for once; and where a folder bears the name too, the name means this
    return found


def __dir__() -> list[str]:
    return __all__
