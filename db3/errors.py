"""Errors that a user can fix.

Every message is one line: the value received, what was expected, the remedy. Entry points print that line and
exit with a non-zero status; a traceback appears only on request (`DB3_TRACEBACK=1`). Anything that is not a
`Db3Error` is a defect of db3 itself.
"""


class Db3Error(Exception):
    """Base of every error that names a value, what was expected and the remedy."""


class ConfigError(Db3Error):
    """A parameter is unknown, of the wrong type or out of range."""


class DataError(Db3Error):
    """A dataset, image, checkpoint or artefact is missing, damaged or of another shape."""


class TeacherError(Db3Error):
    """The teacher broke its contract: a wrong number of answers, or a class outside 0…K−1."""


class BudgetSpent(Db3Error):  # noqa: N818 - nothing went wrong
    """The next images would cost more than may be paid: a search ends here, with what it knows."""
