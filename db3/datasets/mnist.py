"""MNIST and Fashion-MNIST, from their four IDX files wherever they lie under the root, gzipped or not.

Sources: LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 1998; Xiao et al.,
"Fashion-MNIST", arXiv 1708.07747.
"""

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from db3.datasets import idx
from db3.datasets.base import ImageShape, Part
from db3.datasets.download import fetch
from db3.datasets.form import Form
from db3.datasets.pictures import adapt
from db3.datasets.splits import published
from db3.digest import digest_array, digest_json
from db3.errors import DataError

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
}  # fmt: skip
# The last is where torchvision keeps them, and where they are fetched to.
FOLDERS = {
    "mnist": (".", "mnist", "MNIST/raw"),
    "fashion_mnist": ("fashion_mnist", "fashion-mnist", ".", "FashionMNIST/raw"),
}
# MD5 of MNIST's unpacked test labels: its files bear the same names as Fashion-MNIST's.
_MNIST_TEST_LABELS = "27ae3e4e09519cfbb04c329615203637"


def open_mnist(name: str, root: Path, download: bool, form: Form) -> "Mnist":
    """Find (or fetch) the four files of `mnist` or `fashion_mnist`.

    Raises:
        DataError: a file is missing, damaged or unreachable.
    """
    paths = [find(root, name, file) for file in FILES]
    missing = [file for file, path in zip(FILES, paths, strict=True) if path is None]
    if missing and not download:
        places = ", ".join(str(root / folder) for folder in FOLDERS[name])
        raise DataError(
            f"{missing[0]} (or .gz) is in none of {places}; put it there, or set runtime.data_root or runtime.download"
        )
    found = [path or _fetch(root, name, file) for file, path in zip(FILES, paths, strict=True)]
    if name == "fashion_mnist" and _is_mnist(found[3]):
        raise DataError(f"{found[3]} holds MNIST's labels; expected Fashion-MNIST's: put those into {root}/{name}")
    return Mnist(CLASS_NAMES[name], found, form)


def find(root: Path, name: str, file: str) -> Path | None:
    """Where one of the four files lies, plain before gzipped; None where it does not."""
    places = (root / folder / f"{file}{suffix}" for folder in FOLDERS[name] for suffix in ("", ".gz"))
    return next((place for place in places if place.is_file()), None)


class Mnist:
    """Four IDX files: training images and labels, test images and labels.

    Args:
        class_names: of the classes 0 … K−1.
        paths: in the order of `FILES`.
        form: of the images returned.
    """

    def __init__(self, class_names: tuple[str, ...], paths: list[Path], form: Form) -> None:
        self._class_names, self._paths, self._form = class_names, paths, form
        self._train, *frame = idx.read_shape(paths[0], 3)
        self._test, *other = idx.read_shape(paths[2], 3)
        if frame != other:
            raise DataError(f"{paths[2]} holds images of {other}, {paths[0]} of {frame}; expected one size: fetch both")
        self._own = frame[0], frame[1]
        for images, labels in ((0, 1), (2, 3)):
            count, expected = idx.read_shape(paths[labels], 1)[0], (self._train, self._test)[images // 2]
            if count != expected:
                raise DataError(
                    f"{paths[labels]} holds {count:,} labels; {paths[images].name} holds {expected:,} images: "
                    "fetch both files again"
                )

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._class_names

    @property
    def image_shape(self) -> ImageShape:
        return self._form.shape((1, *self._own))

    def split(self, test_fraction: float, seed: int) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
        del test_fraction, seed  # published with a test part
        return published(self._train, self._test)

    def read(self, index: Int64[np.ndarray, " n"]) -> Part:
        images = np.empty((len(index), *self.image_shape), dtype=np.uint8)
        labels = np.empty(len(index), dtype=np.int64)
        for first, wanted, offset in ((0, index < self._train, 0), (2, index >= self._train, self._train)):
            if wanted.any():
                chosen = idx.read_values(self._paths[first], 3)[index[wanted] - offset]
                images[wanted] = adapt(chosen[:, None], self._form)
                labels[wanted] = self._read_labels(self._paths[first + 1])[index[wanted] - offset]
        return Part(images, labels)

    def digest(self) -> str:
        """Of the unpacked content, so gzipped and plain files have one digest."""
        values = [
            digest_array(idx.read_values(path, dimensions))
            for path, dimensions in zip(self._paths, (3, 1, 3, 1), strict=True)
        ]
        facts = self._form.facts(self.image_shape)
        return digest_json({"files": values, **facts, "classes": list(self._class_names)})

    def _read_labels(self, path: Path) -> Int64[np.ndarray, " n"]:
        labels = idx.read_values(path, 1)
        if labels.max() >= len(self._class_names):
            last = len(self._class_names) - 1
            raise DataError(f"{path} holds the label {labels.max()}; expected 0 … {last}: fetch the file again")
        return labels.astype(np.int64)


def _fetch(root: Path, name: str, file: str) -> Path:
    from torchvision.datasets import MNIST, FashionMNIST  # noqa: PLC0415  (a second to import, rarely needed)

    published_by = {"mnist": MNIST, "fashion_mnist": FashionMNIST}[name]
    md5 = dict(published_by.resources)[f"{file}.gz"]
    addresses = [f"{mirror}{file}.gz" for mirror in published_by.mirrors]
    return fetch(addresses, root / FOLDERS[name][-1], f"{file}.gz", md5)


def _is_mnist(labels: Path) -> bool:
    head = b"\0\0\x08\x01" + idx.read_shape(labels, 1)[0].to_bytes(4, "big")
    data = head + idx.read_values(labels, 1).tobytes()
    return hashlib.md5(data, usedforsecurity=False).hexdigest() == _MNIST_TEST_LABELS
