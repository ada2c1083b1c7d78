"""What a dataset is: an order of images, two index lists into it, and the images on demand.

Rules that every source keeps:

* The dataset's own order never depends on the seed, the machine or the place of the files: the training part as its
  publisher (or the sorted file names) gives it, then the test part. Indices of the two parts are therefore disjoint.
* `read` decodes the images it is asked for and no others: the training stage never looks at a test image.
* `digest` depends on the content that decides images and labels, not on how it is packed or where it lies.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, UInt8

ImageShape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Part:
    """Some images of a dataset.

    Attributes:
        images: uint8 [n, C, H, W]; a network sees them as `images / 255`.
        labels: int64 [n], or None where the images carry no label.
    """

    images: UInt8[np.ndarray, "n c h w"]
    labels: Int64[np.ndarray, " n"] | None

    def __len__(self) -> int:
        return len(self.images)


@runtime_checkable
class Source(Protocol):
    """One family of datasets; the rules stand at the top of this file."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes 0 … K−1; empty where there are no labels."""
        ...

    @property
    def image_shape(self) -> ImageShape:
        """(C, H, W) of every image that `read` returns."""
        ...

    def split(self, test_fraction: float, seed: int) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
        """Sorted indices of the training and of the test images; the publisher's own split where there is one."""
        ...

    def read(self, index: Int64[np.ndarray, " n"]) -> Part:
        """The images at these places of the dataset's own order, in the order of `index`."""
        ...

    def digest(self) -> str:
        """SHA-256 of all that decides images and labels."""
        ...


@runtime_checkable
class Checkable(Protocol):
    """A source whose images can only be known to be whole by decoding them."""

    def check(self) -> None:
        """Decode every image of both parts and keep none; refuse with the first unusable one and their count."""
        ...


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset with its split.

    Attributes:
        name: as in `open_dataset`.
        class_names: names of the classes 0 … K−1; empty where there are no labels.
        image_shape: (C, H, W).
        train_index: int64, sorted places of the training images in the dataset's own order.
        test_index: int64, likewise; no index is in both.
        source: reads the images.
    """

    name: str
    class_names: tuple[str, ...]
    image_shape: ImageShape
    train_index: Int64[np.ndarray, " n"] = field(repr=False)
    test_index: Int64[np.ndarray, " m"] = field(repr=False)
    source: Source = field(repr=False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the content that decides images and labels, all parts together; not of the split."""
        return self.source.digest()

    def check(self) -> None:
        """Find unusable image files before anything is paid for, test images included (none is kept or looked at).

        Raises:
            DataError: names the first file and how many there are.
        """
        if isinstance(self.source, Checkable):
            self.source.check()

    def train(self) -> Part:
        """Read the training images, and no test image; every call reads anew."""
        return self.source.read(self.train_index)

    def test(self) -> Part:
        """Read the test images; every call reads anew."""
        return self.source.read(self.test_index)
