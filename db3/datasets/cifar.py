"""CIFAR-10 and CIFAR-100: the published batches through torchvision, or CIFAR-10 as images in class folders.

Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.

Looked for under ROOT and ROOT/cifar10 (or cifar100), the first found is used:
    cifar-10-batches-py/, cifar-100-python/     the published batches
    train/CLASS/*, test/CLASS/*                 image files (cifar10)
    cifar10*.tar, .tar.gz, .tar.xz, .tar.bz2    the same inside an archive (cifar10), read without unpacking
    cifar-10-python.tar.gz, …                   the published archive: unpacked beside itself
and fetched into ROOT where there is none.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Int64
from torchvision.datasets import CIFAR10, CIFAR100

from db3.datasets.base import ImageShape, Part, Source
from db3.datasets.download import check_md5, fetch, unpack_missing
from db3.datasets.encoded import EncodedImages, Listing, folder_reader, tar_members, tar_reader
from db3.datasets.form import Form
from db3.datasets.image_folder import by_class, is_image, list_folder, list_names
from db3.datasets.pictures import adapt
from db3.datasets.splits import published
from db3.digest import digest_file, digest_json
from db3.errors import DataError

PUBLISHED: dict[str, type[CIFAR10]] = {"cifar10": CIFAR10, "cifar100": CIFAR100}
CLASSES = {"cifar10": 10, "cifar100": 100}
COUNTS = (50_000, 10_000)


def open_cifar(name: str, root: Path, download: bool, form: Form) -> Source:
    """Find (or fetch) CIFAR.

    Raises:
        DataError: nothing found, or what was found is damaged, not the published data, or of other classes.
    """
    kind, bases = PUBLISHED[name], [root, root / name]
    for base in bases:
        if (base / kind.base_folder).is_dir():
            return Batches(kind, base, COUNTS, download=download, form=form)
    images = _as_images(bases, form) if name == "cifar10" else None
    if images:
        if len(images.class_names) != CLASSES[name]:
            raise DataError(
                f"{root} holds images of {len(images.class_names)} classes; expected {name}'s 10: set runtime.data_root"
            )
        return images
    for base in bases:
        if (base / kind.filename).is_file():
            return Batches(kind, base, COUNTS, download=download, form=form)
    if not download:
        raise DataError(
            f"{root} holds neither {kind.base_folder}/ nor {kind.filename}; "
            "put one there, set runtime.data_root, or runtime.download: true"
        )
    return Batches(kind, root, COUNTS, download=download, form=form)


class Batches:
    """The published batches.

    They are pickled, so each file's MD5 is held against the published one before torchvision opens it.

    Args:
        kind: torchvision's class.
        root: folder of the batches' folder or of the archive.
        counts: training and test images.
        download: fetch the archive where neither it nor the batches are there.
        form: of the images returned.
    """

    def __init__(
        self,
        kind: type[CIFAR10],
        root: Path,
        counts: tuple[int, int],
        *,
        download: bool,
        form: Form,
    ) -> None:
        self._kind, self._root, self._counts = kind, root, counts
        self._form = form
        self._files = [(root / kind.base_folder / name, md5) for name, md5 in kind.train_list + kind.test_list]
        self._files.append((root / kind.base_folder / kind.meta["filename"], kind.meta["md5"]))
        if not all(path.is_file() for path, _ in self._files):
            self._unpack(download)
        for path, md5 in self._files:
            check_md5(path, md5)
        self._class_names = tuple(kind(root, train=True).classes)  # the test batch stays unopened

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._class_names

    @property
    def image_shape(self) -> ImageShape:
        return self._form.shape((3, 32, 32))

    def split(self, test_fraction: float, seed: int) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
        del test_fraction, seed  # published with a test part
        return published(*self._counts)

    def read(self, index: Int64[np.ndarray, " n"]) -> Part:
        images = np.empty((len(index), *self.image_shape), dtype=np.uint8)
        labels = np.empty(len(index), dtype=np.int64)
        for train, wanted in ((True, index < self._counts[0]), (False, index >= self._counts[0])):
            if wanted.any():
                part = self._kind(self._root, train=train)
                chosen = index[wanted] - (0 if train else self._counts[0])
                images[wanted] = adapt(part.data[chosen].transpose(0, 3, 1, 2), self._form)
                labels[wanted] = np.asarray(part.targets, dtype=np.int64)[chosen]
        return Part(images, labels)

    def digest(self) -> str:
        files = [[path.name, digest_file(path)] for path, _ in self._files]
        return digest_json({"files": files, **self._form.facts(self.image_shape)})

    def _unpack(self, download: bool) -> None:
        archive = self._root / self._kind.filename
        if not archive.is_file():
            missing = next(path for path, _ in self._files if not path.is_file())
            if not download:
                raise DataError(f"{missing} is missing; put it there, or set runtime.download: true")
            fetch([self._kind.url], self._root, self._kind.filename, self._kind.tgz_md5)
        unpack_missing(archive, self._kind.tgz_md5, self._kind.base_folder, self._root / self._kind.base_folder)


def list_archive(archive: Path) -> Listing:
    """The listing of an archive that holds train/CLASS/* and test/CLASS/*."""
    names = [name for name, _ in tar_members(archive) if is_image(name)]
    parts = by_class(names, 0)
    if parts.keys() != {"train", "test"} or len(set(names)) != len(names):
        raise DataError(f"{archive} holds {sorted(parts)[:4]}; expected train/CLASS/* and test/CLASS/*, each file once")
    return list_names(archive, by_class(parts["train"], 1), by_class(parts["test"], 1))


def _as_images(bases: list[Path], form: Form) -> EncodedImages | None:
    for base in bases:
        if (base / "train").is_dir() and (base / "test").is_dir():
            return EncodedImages(base, list_folder(base), folder_reader(base), form)
        for archive in sorted(base.glob("cifar10*.tar*")):
            return EncodedImages(archive, list_archive(archive), tar_reader(archive), form)
    return None
