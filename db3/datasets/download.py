"""Fetch files that are missing, with torchvision's own download code; what is there is never fetched again."""

import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from db3.errors import DataError

_TIMEOUT = 30.0  # seconds without an answer: urllib would wait for ever


def fetch(addresses: Sequence[str], folder: Path, name: str, md5: str) -> Path:
    """Return `folder/name`, fetched from the first address that has it, unless it is already there.

    The file comes into place whole and with the right MD5, or not at all.

    Raises:
        DataError: no address gave the file, or it cannot be written.
    """
    from torchvision.datasets.utils import download_url  # noqa: PLC0415  (a second to import, rarely needed)

    target = folder / name
    if target.exists():
        return target
    with _workspace(folder) as workspace:
        for place, address in enumerate(addresses, 1):
            try:
                with patience():
                    download_url(address, workspace, name, md5)
            # URLError and socket.timeout are OSErrors; torchvision raises RuntimeError where the MD5 is wrong.
            except (OSError, RuntimeError, ValueError, HTTPException) as error:
                if place == len(addresses):
                    raise DataError(
                        f"cannot fetch {name} from {address} ({_line(error)}): "
                        f"check the network, or put the file into {folder} yourself"
                    ) from error
            else:
                (workspace / name).replace(target)
                break
    return target


def unpack_missing(archive: Path, md5: str, folder: str, into: Path) -> None:
    """Unpack the archive's `folder` to `into`; files that are already there stay as they are.

    Raises:
        DataError: the archive is not the published one, or the files cannot be written.
    """
    from torchvision.datasets.utils import extract_archive  # noqa: PLC0415

    check_md5(archive, md5)
    with _workspace(into) as workspace:
        try:
            extract_archive(archive, workspace)
            for part in sorted((workspace / folder).iterdir()):
                if not (into / part.name).exists():
                    part.replace(into / part.name)
        except OSError as error:
            raise DataError(
                f"cannot unpack {archive} into {into}: {_line(error)}; check the space and rights"
            ) from error


def check_md5(path: Path, md5: str) -> None:
    """Refuse a file that is not the published one: a reader of pickled batches may rely on that."""
    from torchvision.datasets.utils import calculate_md5  # noqa: PLC0415

    try:
        found = calculate_md5(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; fetch the file again") from error
    if found != md5:
        raise DataError(
            f"{path} has MD5 {found}; the published file has {md5}: delete it and set runtime.download: true"
        )


@contextmanager
def _workspace(folder: Path) -> Iterator[Path]:
    """A folder beside the final place, so that finished files can be renamed into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as name:
            yield Path(name)
    except OSError as error:
        raise DataError(f"cannot write into {folder}: {_line(error)}; set runtime.data_root") from error


@contextmanager
def patience() -> Iterator[None]:
    """Give up on a server that does not answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
