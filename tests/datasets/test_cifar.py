"""The published batches are pickled and known by their MD5, so the tiny ones here come with a class that knows theirs:
torchvision's and our code run unchanged, only the published constants are others."""

import hashlib
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from db3.datasets import open_dataset
from db3.datasets.cifar import Batches
from db3.datasets.form import Form
from db3.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
IMAGES = np.random.default_rng(0).integers(0, 256, (16, 3, 32, 32), dtype=np.uint8)
LABELS = [place % 10 for place in range(16)]


def tiny_cifar(root: Path) -> type[CIFAR10]:
    """Write 6 + 6 training images and 4 test images as batches and as an archive beside them."""
    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    parts = {"data_batch_1": slice(0, 6), "data_batch_2": slice(6, 12), "test_batch": slice(12, 16)}
    contents: dict[str, Any] = {
        name: {"data": IMAGES[part].reshape(-1, 3072), "labels": LABELS[part]} for name, part in parts.items()
    }
    contents["batches.meta"] = {"label_names": list(CLASSES)}
    md5 = {}
    for name, content in contents.items():
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        md5[name] = hashlib.md5(data, usedforsecurity=False).hexdigest()
    archive = root / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, CIFAR10.base_folder)

    class Tiny(CIFAR10):
        train_list = [["data_batch_1", md5["data_batch_1"]], ["data_batch_2", md5["data_batch_2"]]]  # noqa: RUF012
        test_list = [["test_batch", md5["test_batch"]]]  # noqa: RUF012
        meta = {"filename": "batches.meta", "key": "label_names", "md5": md5["batches.meta"]}  # noqa: RUF012
        tgz_md5 = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()

    return Tiny


def read(kind: type[CIFAR10], root: Path, **options: Any) -> Batches:
    return Batches(kind, root, (12, 4), **{"download": False, "form": Form(), **options})


def test_batches_come_back(tmp_path: Path) -> None:
    source = read(tiny_cifar(tmp_path), tmp_path)
    part = source.read(np.array([1, 7, 13, 15], dtype=np.int64))
    np.testing.assert_array_equal(part.images, IMAGES[[1, 7, 13, 15]])
    np.testing.assert_array_equal(part.labels, [1, 7, 3, 5])
    assert (source.class_names, source.image_shape) == (CLASSES, (3, 32, 32))
    train, test = source.split(0.5, 0)
    assert (len(train), test.tolist()) == (12, [12, 13, 14, 15])


@pytest.mark.usefixtures("offline")
def test_missing_batches_come_from_the_archive_beside_them(tmp_path: Path) -> None:
    kind = tiny_cifar(tmp_path)
    (tmp_path / kind.base_folder / "data_batch_2").unlink()
    digest = read(kind, tmp_path, download=True).digest()
    for path in (tmp_path / kind.base_folder).iterdir():
        path.unlink()
    assert read(kind, tmp_path).digest() == digest
    assert sorted(path.name for path in tmp_path.iterdir()) == [kind.base_folder, kind.filename]


def test_a_batch_that_is_not_the_published_one_is_never_unpickled(tmp_path: Path) -> None:
    kind = tiny_cifar(tmp_path)
    path = tmp_path / kind.base_folder / "data_batch_2"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"data_batch_2 has MD5 .*; the published file has .*: delete it"):
        read(kind, tmp_path, download=True)


def test_a_missing_batch_without_archive_is_named(tmp_path: Path) -> None:
    kind = tiny_cifar(tmp_path)
    (tmp_path / kind.filename).unlink()
    (tmp_path / kind.base_folder / "test_batch").unlink()
    with pytest.raises(DataError, match="test_batch is missing"):
        read(kind, tmp_path)


def test_size_and_channels(tmp_path: Path) -> None:
    source = read(tiny_cifar(tmp_path), tmp_path, form=Form((16, 16), 1))
    assert source.read(np.arange(3, dtype=np.int64)).images.shape == (3, *source.image_shape) == (3, 1, 16, 16)


@pytest.mark.parametrize("place", [".", "cifar10"])
def test_class_folders_and_archive_are_one_dataset(
    place: str, tmp_path: Path, write_pictures: Callable[..., None]
) -> None:
    names = [f"{part}/{name}/{number}.png" for part in ("train", "test") for name in CLASSES for number in (1, 2)]
    write_pictures(tmp_path / "folders" / place, *names, size=(32, 32))
    (tmp_path / "packed" / place).mkdir(parents=True)
    with tarfile.open(tmp_path / "packed" / place / "cifar10-jpeg.tar.xz", "w:xz") as tar:
        for part in ("train", "test"):
            tar.add(tmp_path / "folders" / place / part, part)
    folders, packed = (open_dataset("cifar10", tmp_path / kind, download=False) for kind in ("folders", "packed"))
    assert folders.class_names == packed.class_names == CLASSES
    assert folders.image_shape == (3, 32, 32)
    assert folders.digest == packed.digest
    np.testing.assert_array_equal(folders.test().images, packed.test().images)
    np.testing.assert_array_equal(packed.test().labels, np.repeat(np.arange(10), 2))


def test_other_classes_are_not_taken_for_cifar10(tmp_path: Path, write_pictures: Callable[..., None]) -> None:
    write_pictures(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png")
    with pytest.raises(DataError, match="images of 2 classes; expected cifar10's 10"):
        open_dataset("cifar10", tmp_path, download=False)


def test_an_archive_of_another_layout_is_named(tmp_path: Path, write_pictures: Callable[..., None]) -> None:
    write_pictures(tmp_path / "files", "1.png")
    with tarfile.open(tmp_path / "cifar10.tar", "w") as tar:
        tar.add(tmp_path / "files" / "1.png", "images/1.png")
    with pytest.raises(DataError, match=r"cifar10.tar holds \['images'\]; expected train/CLASS/\*"):
        open_dataset("cifar10", tmp_path, download=False)


@pytest.mark.slow
def test_real_jpeg_archive(shared_data: Path) -> None:
    data = open_dataset("cifar10", shared_data, download=False, train_limit=2000, test_limit=100)
    assert data.class_names == CLASSES
    train = data.train()
    assert train.images.shape == (2000, 3, 32, 32)
    assert np.bincount(train.labels, minlength=10).min() > 150
    assert 110 < train.images.mean() < 130  # the published mean is 120.7
