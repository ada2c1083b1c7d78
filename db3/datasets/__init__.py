"""Datasets: labelled or unlabelled images, split for good into a training and a test part."""

import os
from pathlib import Path

from db3.datasets.base import Dataset, Part, Source
from db3.datasets.splits import draw
from db3.errors import ConfigError, unknown_name

NAMES = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "flowers102", "image_folder")

__all__ = ["NAMES", "Dataset", "Part", "open_dataset"]


def open_dataset(
    name: str,
    root: str | Path | None = None,
    *,
    download: bool = True,
    size: int | None = None,
    channels: int | None = None,
    test_fraction: float = 0.2,
    train_limit: int | None = None,
    test_limit: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Find a dataset and fix its split; images are decoded only when `train()` or `test()` is called.

    Args:
        name: one of `NAMES`.
        root: folder of the files; None: the environment's DB3_DATA_ROOT, else ~/.cache/db3/datasets.
        download: fetch files that are missing (never those already there) into the root.
        size: height and width of the images; None: the dataset's own (28 for digits, 224 for flowers102). Other images
            are cropped to a centred square and resized (bicubic).
        channels: 1 (luma) or 3; None: the dataset's own.
        test_fraction: share held out, class by class, where the dataset has no test part of its own.
        train_limit: at most this many training images, drawn at random; a smaller draw is part of a larger one.
        test_limit: at most this many test images.
        seed: of the split and of the limits.

    Raises:
        DataError: files missing, damaged or unreachable.
        ConfigError: unknown name, or an argument out of its range.
    """
    if not 0 < test_fraction < 1:
        raise ConfigError(f"dataset.test_fraction is {test_fraction}; expected a share between 0 and 1, such as 0.2")
    if size is not None and size < 1:
        raise ConfigError(f"dataset.size is {size}; expected a height and width in pixels, such as 32")
    if channels not in (None, 1, 3):
        raise ConfigError(f"dataset.channels is {channels}; expected 1 (grey), 3 (colour) or null (the dataset's own)")
    for key, limit in (("train_limit", train_limit), ("test_limit", test_limit)):
        if limit is not None and limit < 1:
            raise ConfigError(f"dataset.{key} is {limit}; expected a positive number of images, or null for all")
    source = _open_source(name, _root(root), download, size, channels)
    train, test = source.split(test_fraction, seed)
    return Dataset(
        name=name,
        class_names=source.class_names,
        image_shape=source.image_shape,
        train_index=draw(train, train_limit, seed, "train"),
        test_index=draw(test, test_limit, seed, "test"),
        source=source,
    )


def _root(root: str | Path | None) -> Path:
    chosen = root or os.environ.get("DB3_DATA_ROOT") or "~/.cache/db3/datasets"
    return Path(chosen).expanduser()


def _open_source(name: str, root: Path, download: bool, size: int | None, channels: int | None) -> Source:
    """Each family is imported when it is asked for: scikit-learn and torchvision take a second each to import."""
    if name == "digits":
        from db3.datasets.digits import Digits  # noqa: PLC0415

        return Digits(size, channels)
    if name in ("mnist", "fashion_mnist"):
        from db3.datasets.mnist import open_mnist  # noqa: PLC0415

        return open_mnist(name, root, download, size, channels)
    if name in ("cifar10", "cifar100"):
        from db3.datasets.cifar import open_cifar  # noqa: PLC0415

        return open_cifar(name, root, download, size, channels)
    if name == "flowers102":
        from db3.datasets.flowers import open_flowers  # noqa: PLC0415

        return open_flowers(root, download, size, channels)
    if name == "image_folder":
        from db3.datasets.image_folder import open_image_folder  # noqa: PLC0415

        return open_image_folder(root, size, channels)
    raise unknown_name("dataset", name, NAMES)
