"""Packages that only some abilities need; where one is missing, one line says which extra brings it.

`pip install db3` brings what a search, a student's training and a zero-shot run need. The rest comes with an extra of
pyproject.toml, and the code that needs it imports it late, inside `needs`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

from db3.errors import ConfigError

# onnxruntime would write a database of its use below ~/.cache when it is imported; it reads this then, and no later.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


@contextmanager
def needs(extra: str, what: str, otherwise: str = "") -> Iterator[None]:
    """Turn a missing package into one line that names the extra.

    Args:
        extra: of db3, e.g. `vision`.
        what: the ability, as the user named it, e.g. `dataset digits`.
        otherwise: how to do without it, where one can.

    Raises:
        ConfigError: a package outside db3 is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package == "db3":  # a defect of ours, and none that an extra cures
            raise
        remedy = f"pip install 'db3[{extra}]'" + (f", or {otherwise}" if otherwise else "")
        raise ConfigError(f"{what} needs the package {package}, which is not installed: {remedy}") from error


def installed_version() -> str:
    """Of db3; a clone that is on the path without being installed has none."""
    try:
        return metadata.version("db3")
    except metadata.PackageNotFoundError:
        return "unknown"
