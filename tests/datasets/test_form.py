"""Sizes of any proportions, the three ways to get there, and the digests of what was there before them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from db3.datasets import open_dataset
from db3.datasets.form import Form
from db3.datasets.pictures import pixels
from db3.errors import ConfigError
from db3.settings.dataset import Fit

WIDE = np.zeros((10, 30, 3), np.uint8)
WIDE[:, :10], WIDE[:, 10:20], WIDE[:, 20:] = 50, 255, 100


@pytest.mark.parametrize(
    ("fit", "row"),
    [("crop", [255] * 10), ("stretch", [50, 50, 50, None, 255, 255, None, 100, 100, 100]), ("pad", None)],
)
def test_ways_to_bring_a_picture_to_a_size(fit: Fit, row: list[int | None] | None) -> None:
    found = pixels(Image.fromarray(WIDE), 1, Form((10, 10), fit=fit))
    if row is None:  # a third of the height is the picture, black above and below
        assert (found[0, :3] == 0).all()
        assert (found[0, 7:] == 0).all()
        assert found[0, 5, 5] == 255
    else:
        for place, value in enumerate(row):
            assert value is None or (np.abs(found[0, :, place].astype(int) - value) < 20).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_what_has_the_size_stays_as_it_is(fit: Fit) -> None:
    np.testing.assert_array_equal(pixels(Image.fromarray(WIDE), 3, Form((10, 30), fit=fit)), WIDE.transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["digits", "mnist", "image_folder"])
def test_height_and_width_of_every_dataset(
    name: str, tmp_path: Path, tiny_mnist: Callable[..., None], write_pictures: Callable[..., None]
) -> None:
    tiny_mnist(tmp_path / "mnist")
    write_pictures(tmp_path / "image_folder", "a/1.png", "b/2.png", "b/3.png")
    root = tmp_path / name
    digests = set()
    for fit in ("crop", "pad", "stretch"):
        data = open_dataset(name, root, size=(16, 40), fit=fit, channels=3, download=False)
        assert data.image_shape == (3, 16, 40) == data.train().images.shape[1:]
        digests.add(data.digest)
    assert len(digests) == 3
    square = [open_dataset(name, root, size=size, download=False).digest for size in (24, (24, 24), [24, 24])]
    assert len(set(square)) == 1


def test_a_size_that_is_none_is_refused() -> None:
    for size in ((48, 192, 3), (0, 10), "48x192"):
        with pytest.raises(ConfigError, match=r"size is .*expected a whole number of 8 or more.* or a list of 2, each"):
            open_dataset("digits", size=size)
    with pytest.raises(ConfigError, match=r"fit is 'padd'.*did you mean pad\?"):
        open_dataset("digits", fit="padd")


def test_digests_of_earlier_releases_stand() -> None:
    assert open_dataset("digits").digest.startswith("c2eaf85298a54e2b")
    assert open_dataset("digits", size=16, channels=3).digest.startswith("9d9a118543e95b8d")


def test_digests_of_files_of_earlier_releases_stand(tmp_path: Path, tiny_mnist: Callable[..., None]) -> None:
    tiny_mnist(tmp_path)
    assert open_dataset("mnist", tmp_path).digest.startswith("c033fb7a61f8e82a")
    assert open_dataset("mnist", tmp_path, size=32).digest.startswith("57e7c2d41b1ed9d1")
    head = bytes.fromhex("424d460000000000000036000000280000000200000002000000010018000000000010000000" + "00" * 16)
    for name in ("1.bmp", "2.bmp"):  # 2x2, no file of a compressor whose version counts
        (tmp_path / "folder/a").mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder/a" / name).write_bytes(head + bytes(range(16)))
    assert open_dataset("image_folder", tmp_path / "folder").digest.startswith("bc92697d9d1c3174")
    grey = open_dataset("image_folder", tmp_path / "folder", size=8, channels=1)
    assert grey.digest.startswith("1f7504a174a9c739")
