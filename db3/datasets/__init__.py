"""Datasets: labelled or unlabelled images, split for good into a training and a test part."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from db3.datasets.base import Dataset, Part, Source
from db3.datasets.form import Form, square
from db3.datasets.splits import draw
from db3.extras import needs
from db3.settings.dataset import NAMES, DatasetName, DatasetSettings

__all__ = ["NAMES", "Dataset", "DatasetSettings", "Part", "open_dataset"]


def open_dataset(
    name: str | DatasetSettings, root: str | Path | None = None, *, download: bool = True, **chosen: Any
) -> Dataset:
    """Find a dataset and fix its split; images are decoded only when `train()` or `test()` is called.

    Args:
        name: one of `NAMES`, or the settings with it.
        root: folder of the files; None: the environment's DB3_DATA_ROOT, else ~/.cache/db3/datasets.
        download: fetch files that are missing (never those already there) into the root.
        chosen: further fields of `DatasetSettings`, e.g. `size=32` or `size=(48, 192), fit="pad"`.

    Raises:
        ConfigError: an unknown name, a value out of its range, or the extra `vision` is not installed.
        DataError: files missing, damaged or unreachable.
    """
    group = DatasetSettings(name, **chosen) if isinstance(name, str) else replace(name, **chosen)  # type: ignore[arg-type]
    form = Form(square(group.size), group.channels, group.fit)
    with needs("vision", f"dataset {group.name}"):
        source = _open_source(group.name, _root(root), download, form)
    train, test = source.split(group.test_fraction, group.seed)
    return Dataset(
        name=group.name,
        class_names=source.class_names,
        image_shape=source.image_shape,
        train_index=draw(train, group.train_limit, group.seed, "train"),
        test_index=draw(test, group.test_limit, group.seed, "test"),
        source=source,
    )


def _root(root: str | Path | None) -> Path:
    chosen = root or os.environ.get("DB3_DATA_ROOT") or "~/.cache/db3/datasets"
    return Path(chosen).expanduser()


def _open_source(name: DatasetName, root: Path, download: bool, form: Form) -> Source:
    """Each family is imported when it is asked for: scikit-learn and torchvision take a second each to import."""
    if name == "digits":
        from db3.datasets.digits import Digits  # noqa: PLC0415

        return Digits(form)
    if name in ("mnist", "fashion_mnist"):
        from db3.datasets.mnist import open_mnist  # noqa: PLC0415

        return open_mnist(name, root, download, form)
    if name in ("cifar10", "cifar100"):
        from db3.datasets.cifar import open_cifar  # noqa: PLC0415

        return open_cifar(name, root, download, form)
    if name == "flowers102":
        from db3.datasets.flowers import open_flowers  # noqa: PLC0415

        return open_flowers(root, download, form)
    from db3.datasets.image_folder import open_image_folder  # noqa: PLC0415

    return open_image_folder(root, form)
