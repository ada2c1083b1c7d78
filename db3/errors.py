"""Errors that a user can fix.

Every message is one line: the value received, what was expected, the remedy. Entry points print that line and
exit with a non-zero status; a traceback appears only on request (`DB3_TRACEBACK=1`). Anything that is not a
`Db3Error` is a defect of db3 itself.
"""

import difflib
from collections.abc import Iterable, Sequence

# Of what people mistype, 0.75 and more is alike (one letter of four); of words for something else, 0.67 at most
# (mobilenet and lenet5). Of three letters, two in another order are 0.67, and of two, one that is wrong is 0.5.
_CUTOFF, _SHORT, _CUTOFF_OF_SHORT = 0.7, 3, 0.5
_SHOWN = 40  # names at most, where none is near


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
    """The hint for a misspelt name: the one near it after `prefix`, else those that are known, the first of many."""
    names = sorted(known)
    near = nearest_name(name, names)
    return f"did you mean {prefix}{near}?" if near else f"known here: {listed(names, _SHOWN)}"


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that a misspelt one may have meant; None: none is near, and a guess would mislead.

    Of dotted names the last part must be near: a.b.c and a.b.d share all but what they mean. Where no known name is
    dotted, the first part is a group's name, and misspelt itself.
    """
    names = sorted(known)
    name = name if any("." in one for one in names) else name.partition(".")[0]
    group, _, last = name.rpartition(".")

    def likeness(one: str) -> float:
        return _ratio(one.rpartition(".")[2], last)

    likest = max(names, key=lambda one: likeness(one) + _ratio(one, name), default=None)
    if likest is None:
        return None
    short = len(last) <= _SHORT and likest.rpartition(".")[0] == group
    return likest if likeness(likest) >= (_CUTOFF_OF_SHORT if short else _CUTOFF) else None


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def listed(names: Sequence[str], most: int = 10) -> str:
    """The first of the names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def one_line(text: object, longest: int = 200) -> str:
    """A foreign message, or error, in one line of at most `longest` characters."""
    words = " ".join(str(text).split()) or (type(text).__name__ if isinstance(text, Exception) else "")
    return words if len(words) <= longest else f"{words[: longest - 3]}..."
