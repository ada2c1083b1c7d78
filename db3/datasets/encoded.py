"""Datasets of encoded image files (png, jpg, …), in folders or inside a tar archive."""

import logging
import lzma
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Int64, UInt8
from PIL.Image import Image

from db3.datasets.base import ImageShape, Part
from db3.datasets.form import Form, Size
from db3.datasets.pictures import KINDS, UNREADABLE, decode, is_grey, pixels
from db3.datasets.splits import held_out, published
from db3.digest import digest_bytes, digest_json
from db3.errors import DataError, one_line
from db3.progress import Progress

_logger = logging.getLogger(__name__)

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
        left_out: pictures of kinds that are not read.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    train: int
    split: bool
    left_out: tuple[str, ...] = ()


class EncodedImages:
    """Image files that are read and decoded on demand.

    Args:
        where: folder or archive, for errors and progress.
        listing: which files there are.
        reader: yields (place in the names it is given, bytes of the file), in any order.
        form: what they become; of no size: all have to have one; of no number of channels: as the first image (a
            colour image among grey ones is then refused).
    """

    def __init__(self, where: Path, listing: Listing, reader: Reader, form: Form) -> None:
        self._where, self._listing, self._reader = where, listing, reader
        self._form = form
        self._shape = (form.channels, *form.size) if form.size and form.channels else self._own_shape()

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
        for place, image in self._decoded("reading", [self._listing.names[place] for place in index.tolist()]):
            images[place] = image
        labels = np.asarray(self._listing.labels, dtype=np.int64)[index]
        return Part(images, labels if len(labels) and labels.min() >= 0 else None)

    def check(self) -> None:
        """Decode every image once and keep none; warn of pictures that are left out."""
        warn_left_out(self._where, self._listing.left_out)
        for _ in self._decoded("checking", self._listing.names):
            pass

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
                **self._form.facts(self._shape),
            }
        )

    def _decoded(self, doing: str, names: Sequence[str]) -> Iterator[tuple[int, UInt8[np.ndarray, "c h w"]]]:
        """Every image with its place among the names; when all are read, those that cannot be used are refused."""
        failures: dict[int, str] = {}
        sizes: dict[Size, list[int]] = {}
        with Progress(f"{doing} {self._where.name}", len(names), "img") as progress:
            for place, data in self._reader(names):
                try:
                    image = decode(data)
                    sizes.setdefault((image.height, image.width), []).append(place)
                    found = self._pixels(image)
                except UNREADABLE as error:
                    failures[place] = one_line(error)
                else:
                    if found is not None:
                        yield place, found
                progress.advance()
        self._refuse(failures, names)
        self._refuse_sizes(sizes, names)

    def _pixels(self, image: Image) -> UInt8[np.ndarray, "c h w"] | None:
        """None of another size than the first, where no size is wanted."""
        if self._form.channels is None and self._shape[0] == 1 and not is_grey(image):
            raise ValueError("it is in colour, the first image is grey: set dataset.channels (or channels) to 1 or 3")
        if self._form.size is None and (image.height, image.width) != self._shape[1:]:
            return None
        return pixels(image, self._shape[0], self._form)

    def _own_shape(self) -> ImageShape:
        """What the form does not fix is taken from the first image."""
        name = self._listing.names[0]
        _, data = next(iter(self._reader([name])))
        try:
            image = decode(data)
        except UNREADABLE as error:
            self._refuse({0: one_line(error)}, [name])
            raise
        return self._form.shape((1 if is_grey(image) else 3, image.height, image.width))

    def _refuse(self, failures: dict[int, str], names: Sequence[str]) -> None:
        if failures:
            first = min(failures)
            raise DataError(
                f"{len(failures)} of {len(names)} images cannot be used; the first is {self._where}/{names[first]} "
                f"({failures[first]}): expected {KINDS}; replace or remove them"
            )

    def _refuse_sizes(self, sizes: dict[Size, list[int]], names: Sequence[str]) -> None:
        """Images of several sizes where none is wanted: say which there are."""
        own = self._shape[1:]
        others = sorted((size for size in sizes if size != own), key=lambda size: -len(sizes[size]))
        if self._form.size is None and others:
            first = names[min(sizes[others[0]])]
            found = ", ".join(f"{h}x{w} of {len(sizes[h, w]):,}" for h, w in others[:3])
            more = f" and {len(others) - 3:,} more sizes" if others[3:] else ""
            raise DataError(
                f"{self._where} holds images of several sizes (height x width): {own[0]}x{own[1]} of the first, "
                f"{found}{more}, such as {first}: set dataset.size (or size) to one number or [height, width]"
            )


def warn_left_out(where: Path, names: Sequence[str]) -> None:
    """One line about pictures of kinds that are not read."""
    if names:
        kinds = Counter(PurePosixPath(name).suffix.lower() for name in names)
        counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
        _logger.warning(
            "%s: %s pictures are left out (%s; the first is %s), since db3 reads %s: convert them to use them",
            *(where, f"{len(names):,}", counts, names[0], KINDS),
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
