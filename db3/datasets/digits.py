"""scikit-learn's bundled handwritten digits: 1,797 images of 8×8, needs no network and no file.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998 (its test set).
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Int64
from sklearn.datasets import load_digits

from db3.datasets.base import ImageShape, Part
from db3.datasets.form import Form
from db3.datasets.pictures import adapt
from db3.datasets.splits import held_out
from db3.digest import digest_arrays

DEFAULT_SIZE = (28, 28)


class Digits:
    """The 8×8 digits, grey values 0 … 16 scaled to 0 … 255 and upsampled (bicubic) to 28×28 or `size`."""

    def __init__(self, form: Form) -> None:
        bunch = load_digits()
        grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
        self._images = adapt(grey[:, None], replace(form, size=form.size or DEFAULT_SIZE))
        self._labels = bunch.target.astype(np.int64)

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple("0123456789")

    @property
    def image_shape(self) -> ImageShape:
        channels, height, width = self._images.shape[1:]
        return channels, height, width

    def split(self, test_fraction: float, seed: int) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
        return held_out(self._labels, test_fraction, seed)

    def read(self, index: Int64[np.ndarray, " n"]) -> Part:
        return Part(self._images[index], self._labels[index])

    def digest(self) -> str:
        return digest_arrays({"images": self._images, "labels": self._labels})
