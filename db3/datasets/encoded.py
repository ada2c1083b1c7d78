"""Datasets of encoded image files (png, jpg, …), in folders or inside a tar archive."""

import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Int64, UInt8

from db3.datasets.base import ImageShape, Part
from db3.datasets.pictures import KINDS, UNREADABLE, decode, is_grey, pixels
from db3.datasets.splits import held_out, published
from db3.digest import digest_bytes, digest_json
from db3.errors import DataError
from db3.progress import Progress

Reader = Callable[[Sequence[str]], Iterator[tuple[int, bytes]]]
_LARGEST = 1 << 28  # bytes of one encoded image


@dataclass(frozen=True)
class Listing:
    """The files of a dataset in its own order.

    Attributes:
        names: paths relative to the root, with /: the training part, then the test part.
        labels: class of each file; −1: none.
        class_names: of the classes 0 … K−1.
        train: how many files are the training part.
        split: whether the rest is a test part of the dataset's own.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    train: int
    split: bool


class EncodedImages:
    """Image files that are read and decoded on demand.

    Args:
        where: folder or archive, for errors and progress.
        listing: which files there are.
        reader: yields (place in the names it is given, bytes of the file), in any order.
        size: height and width after centre crop and resize; None: all images must have the size of the first.
        channels: 1 or 3; None: as the first image (a colour image among grey ones is then refused).
    """

    def __init__(self, where: Path, listing: Listing, reader: Reader, size: int | None, channels: int | None) -> None:
        self._where, self._listing, self._reader = where, listing, reader
        self._size, self._channels = size, channels
        self._shape = self._own_shape() if size is None or channels is None else (channels, size, size)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._listing.class_names

    @property
    def image_shape(self) -> ImageShape:
        return self._shape

    def split(self, test_fraction: float, seed: int) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
        if self._listing.split:
            return published(self._listing.train, len(self._listing.names) - self._listing.train)
        return held_out(np.asarray(self._listing.labels, dtype=np.int64), test_fraction, seed)

    def read(self, index: Int64[np.ndarray, " n"]) -> Part:
        images = np.empty((len(index), *self._shape), dtype=np.uint8)
        failures: dict[int, str] = {}
        names = [self._listing.names[place] for place in index.tolist()]
        with Progress(f"reading {self._where.name}", len(names), "img") as progress:
            for place, data in self._reader(names):
                try:
                    images[place] = self._pixels(data)
                except UNREADABLE as error:
                    failures[place] = " ".join(str(error).split())
                progress.advance()
        self._refuse(failures, names)
        labels = np.asarray(self._listing.labels, dtype=np.int64)[index]
        return Part(images, labels if len(labels) and labels.min() >= 0 else None)

    def check(self) -> None:
        """Decode every image once and keep none."""
        failures: dict[int, str] = {}
        names = self._listing.names
        with Progress(f"checking {self._where.name}", len(names), "img") as progress:
            for place, data in self._reader(names):
                try:
                    self._pixels(data)
                except UNREADABLE as error:
                    failures[place] = " ".join(str(error).split())
                progress.advance()
        self._refuse(failures, names)

    def digest(self) -> str:
        """Of the names, labels and bytes of the files and the shape asked for."""
        files = self._listing.names
        digests = [""] * len(files)
        with Progress(f"hashing {self._where.name}", len(files), "img") as progress:
            for place, data in self._reader(files):
                digests[place] = digest_bytes(data)
                progress.advance()
        return digest_json(
            {
                "files": list(zip(files, self._listing.labels, digests, strict=True)),
                "classes": self._listing.class_names,
                "train": self._listing.train,
                "shape": self._shape,
            }
        )

    def _pixels(self, data: bytes) -> UInt8[np.ndarray, "c h w"]:
        image = decode(data)
        if self._channels is None and self._shape[0] == 1 and not is_grey(image):
            raise ValueError("it is in colour, the first image is grey: set dataset.channels to 1 or 3")
        if self._size is None and (image.height, image.width) != self._shape[1:]:
            raise ValueError(
                f"it is {image.width}x{image.height}, the first image {self._shape[2]}x{self._shape[1]}: "
                "set dataset.size"
            )
        return pixels(image, self._shape[0], self._size)

    def _own_shape(self) -> ImageShape:
        """What the dataset does not fix is taken from its first image."""
        name = self._listing.names[0]
        _, data = next(iter(self._reader([name])))
        try:
            image = decode(data)
        except UNREADABLE as error:
            self._refuse({0: " ".join(str(error).split())}, [name])
            raise
        channels = self._channels or (1 if is_grey(image) else 3)
        return channels, self._size or image.height, self._size or image.width

    def _refuse(self, failures: dict[int, str], names: Sequence[str]) -> None:
        if failures:
            first = min(failures)
            raise DataError(
                f"{len(failures)} of {len(names)} images cannot be used; the first is {self._where}/{names[first]} "
                f"({failures[first]}): expected {KINDS}; replace or remove them"
            )


def folder_reader(folder: Path) -> Reader:
    """Read files of a folder."""

    def read(names: Sequence[str]) -> Iterator[tuple[int, bytes]]:
        for place, name in enumerate(names):
            try:
                yield place, (folder / name).read_bytes()
            except OSError as error:
                raise DataError(f"cannot read {folder / name}: {error.strerror or error}; check its rights") from error

    return read


def tar_reader(archive: Path) -> Reader:
    """Read members of a tar archive (plain, gz, bz2 or xz) in its order; nothing is unpacked to the disk."""

    def read(names: Sequence[str]) -> Iterator[tuple[int, bytes]]:
        places = {name: place for place, name in enumerate(names)}
        for name, data in tar_members(archive, frozenset(places)):
            yield places.pop(name), data
            if not places:
                return
        raise DataError(f"{archive} has changed: {next(iter(places))} is gone; run again with the archive at rest")

    return read


def tar_members(archive: Path, wanted: frozenset[str] | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) of the regular files of an archive.

    Args:
        archive: a tar file, compressed or not.
        wanted: names to read; None: yield all names with empty bytes.

    Raises:
        DataError: the archive is damaged, or a member's name is absolute or climbs out with `..`.
    """
    try:
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise DataError(f"{archive} has a member {member.name!r}; expected relative names: do not use it")
                if not member.isreg() or member.size > _LARGEST:
                    continue
                name = path.as_posix()
                if wanted is None:
                    yield name, b""
                elif name in wanted:
                    file = tar.extractfile(member)
                    yield name, file.read() if file else b""
    except (tarfile.TarError, lzma.LZMAError, EOFError, zlib.error) as error:
        raise DataError(f"{archive} is not a whole tar archive ({error}): fetch it again") from error
    except OSError as error:
        raise DataError(f"cannot read {archive}: {error.strerror or error}; fetch it again") from error
