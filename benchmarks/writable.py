"""Whether a file can be written at the end of hours of work: asked before them."""

import tempfile
from pathlib import Path

from db3.errors import DataError


def require_writable(path: Path | None) -> None:
    """Refuse a file that cannot be written; folders above it are made.

    Raises:
        DataError: one line.
    """
    if path is None:
        return
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "Is a directory")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; name another file, or check the rights") from None
