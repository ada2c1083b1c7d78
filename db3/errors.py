"""Errors that a user can fix.

Every message is one line: the value received, what was expected, the remedy. Entry points print that line and
exit with a non-zero status; a traceback appears only on request (`DB3_TRACEBACK=1`). Anything that is not a
`Db3Error` is a defect of db3 itself.
"""

import difflib
from collections.abc import Iterable, Sequence


class Db3Error(Exception):
    """Base of every error that names a value, what was expected and the remedy."""


class ConfigError(Db3Error):
    """A parameter is unknown, of the wrong type or out of range."""


class DataError(Db3Error):
    """A dataset, image, checkpoint or artefact is missing, damaged or of another shape."""


class TeacherError(Db3Error):
    """The teacher broke its contract: a wrong number of answers, or a class outside 0…K−1."""


class BudgetSpent(Db3Error):  # noqa: N818 - nothing went wrong
    """The next images would be more than may be sent: a search ends here, with what it knows."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ConfigError:
    """The error for a name that does not exist, with the nearest one that does, or all of them.

    Args:
        kind: what it should name, e.g. `mapping`.
        name: as given.
        known: the names there are.
    """
    return ConfigError(f"unknown {kind} {name!r}; {nearest(str(name), known)}")


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The hint for a misspelt name: the nearest of the known ones after `prefix`, else all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {prefix}{near[0]}?" if near else f"known here: {', '.join(names)}"


def listed(names: Sequence[str], most: int = 10) -> str:
    """The first of the names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def one_line(text: object, longest: int = 200) -> str:
    """A foreign message, or error, in one line of at most `longest` characters."""
    words = " ".join(str(text).split()) or (type(text).__name__ if isinstance(text, Exception) else "")
    return words if len(words) <= longest else f"{words[: longest - 3]}..."
