"""A flower set of eight photographs in the published layout; only the published MD5s are others (see test_cifar)."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from torchvision.datasets import Flowers102

from db3.datasets.flowers import open_flowers
from db3.datasets.form import Form
from db3.errors import DataError


def tiny_flowers(root: Path, write_pictures: Callable[..., None]) -> type[Flowers102]:
    folder = root / "flowers-102"
    write_pictures(folder / "jpg", *(f"image_{number:05d}.jpg" for number in range(1, 9)), kind="JPEG")
    savemat(folder / "imagelabels.mat", {"labels": np.array([[5, 5, 1, 2, 3, 102, 7, 9]])})
    savemat(folder / "setid.mat", {"trnid": [[6, 1]], "valid": [[3, 8]], "tstid": [[2, 4, 5, 7]]})

    class Tiny(Flowers102):
        _file_dict = {  # noqa: RUF012
            "image": ("102flowers.tgz", ""),
            "label": ("imagelabels.mat", hashlib.md5((folder / "imagelabels.mat").read_bytes()).hexdigest()),  # noqa: S324
            "setid": ("setid.mat", hashlib.md5((folder / "setid.mat").read_bytes()).hexdigest()),  # noqa: S324
        }

    return Tiny


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("place", [".", "flowers102"])
def test_training_joins_train_and_validation(place: str, tmp_path: Path, write_pictures: Callable[..., None]) -> None:
    kind = tiny_flowers(tmp_path / place, write_pictures)
    source = open_flowers(tmp_path, True, Form(), kind)
    train, test = source.split(0.5, 0)
    assert source.image_shape == (3, 224, 224)
    assert len(source.class_names) == 102
    assert source.read(train).labels.tolist() == [101, 4, 0, 8]
    assert source.read(test).labels.tolist() == [4, 1, 2, 6]
    assert source.read(test).images.shape == (4, 3, 224, 224)


def test_photographs_of_any_size_take_the_form_asked_for(tmp_path: Path, write_pictures: Callable[..., None]) -> None:
    """The real ones are 500 pixels on their shorter side and differ in the other; the rows for two cores take 64."""
    kind = tiny_flowers(tmp_path, write_pictures)
    write_pictures(tmp_path / "flowers-102/jpg", "image_00001.jpg", kind="JPEG", size=(750, 500))
    write_pictures(tmp_path / "flowers-102/jpg", "image_00006.jpg", kind="JPEG", size=(500, 667))
    source = open_flowers(tmp_path, False, Form((64, 64), 3), kind)
    train, test = source.split(0.5, 0)
    assert (len(train), len(test)) == (4, 4)
    for part in (train, test):
        images = source.read(part).images
        assert (images.dtype, images.shape) == (np.uint8, (4, 3, 64, 64))


def test_a_changed_label_file_is_refused(tmp_path: Path, write_pictures: Callable[..., None]) -> None:
    kind = tiny_flowers(tmp_path, write_pictures)
    with (tmp_path / "flowers-102" / "setid.mat").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"lacks jpg/, imagelabels.mat or setid.mat, or one of them"):
        open_flowers(tmp_path, False, Form(), kind)


def test_a_missing_photograph_is_named(tmp_path: Path, write_pictures: Callable[..., None]) -> None:
    source = open_flowers(tmp_path, False, Form((32, 32), 1), tiny_flowers(tmp_path, write_pictures))
    (tmp_path / "flowers-102/jpg/image_00003.jpg").unlink()
    with pytest.raises(DataError, match=r"cannot read .*image_00003.jpg"):
        source.read(np.array([2], dtype=np.int64))
