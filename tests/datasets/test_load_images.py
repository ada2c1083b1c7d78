import gzip
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import db3
from db3.errors import ConfigError, DataError

Write = Callable[..., None]
DRAWN = np.random.default_rng(0).integers(0, 256, (6, 3, 10, 14), dtype=np.uint8)


def test_no_images_are_none() -> None:
    assert db3.load_images(None) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (DRAWN, DRAWN),
        (DRAWN.transpose(0, 2, 3, 1), DRAWN),
        (DRAWN[:, 0], DRAWN[:, :1]),
        (DRAWN[:, :1], DRAWN[:, :1]),
        (DRAWN.astype(np.int64), DRAWN),
        (DRAWN.astype(np.float32) / 255, DRAWN),
        (DRAWN.astype(np.float64) / 255, DRAWN),
        (torch.from_numpy(DRAWN), DRAWN),
        (torch.from_numpy(DRAWN).float() / 255, DRAWN),
        (DRAWN[:, 0] > 127, (DRAWN[:, :1] > 127).astype(np.uint8) * 255),
    ],
)
def test_arrays_and_tensors_become_bytes(given: Any, expected: np.ndarray) -> None:
    loaded = db3.load_images(given)
    assert loaded.images.dtype == np.uint8
    np.testing.assert_array_equal(loaded.images, expected)
    assert (len(loaded), loaded.shape, loaded.labels) == (6, expected.shape[1:], None)
    assert loaded.digest == db3.load_images(expected).digest


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (DRAWN.astype(np.float32), r"real numbers 0 … 255; expected \[0, 1\], or uint8 0 … 255: divide by 255"),
        (DRAWN / 127.5 - 1, r"real numbers -1 … 1; expected \[0, 1\].*: undo its normalisation"),
        (np.full((2, 8, 8), np.nan), "real numbers nan … nan"),
        (DRAWN.astype(np.int32) * 2, "whole numbers 0 … 510; expected 0 … 255"),
        (DRAWN.astype(complex), "holds complex128"),
        (DRAWN.reshape(6, -1), r"reshape its rows of 420 values to \[H, W\]"),
        (DRAWN[0].transpose(1, 2, 0), r"put one colour image into a list"),
        (DRAWN.repeat(2, axis=1), r"shape \[6, 6, 10, 14\]; expected images"),
        (np.zeros((5, 8, 8, 4), np.uint8), "lay its transparent images on a ground"),
        (DRAWN[:0], r"shape \[0, 3, 10, 14\], so there is no image"),
        (np.float32(1.0), "the images are float32"),
        (3, "the images are int; expected a folder"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(given: Any, message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        db3.load_images(given)
    assert "\n" not in str(caught.value)


def test_a_folder_with_class_folders_is_labelled(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "b/1.png", "a/2.png", "a/deep/3.png")
    loaded = db3.load_images(tmp_path)
    assert loaded.class_names == ("a", "b")
    assert loaded.labels is not None
    assert loaded.labels.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(loaded.images[2].transpose(1, 2, 0), np.asarray(Image.open(tmp_path / "b/1.png")))


def test_a_folder_of_any_other_order_has_no_labels(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "1.png", "holidays/2.jpg", "holidays/beach/3.png")
    (tmp_path / "empty").mkdir()
    loaded = db3.load_images(str(tmp_path))
    assert (len(loaded), loaded.labels, loaded.class_names) == (3, None, ())


def test_the_test_part_of_a_folder_is_not_taken(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "train/a/1.png", "test/a/2.png", "test/a/3.png")
    assert len(db3.load_images(tmp_path)) == 1


def test_size_fit_channels_and_limit(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *(f"{place}.png" for place in range(9)))
    write_pictures(tmp_path, "other.png", size=(50, 40))
    assert db3.load_images(tmp_path, size=(16, 48), fit="pad", channels=1).images.shape == (10, 1, 16, 48)
    few, more = (db3.load_images(tmp_path, size=9, limit=limit).images for limit in (3, 6))
    assert len(few) == 3
    assert {image.tobytes() for image in few} < {image.tobytes() for image in more}
    with pytest.raises(ConfigError, match="limit is 0; expected 1 or more"):
        db3.load_images(tmp_path, limit=0)
    with pytest.raises(ConfigError, match="size is 4; expected a whole number of 8 or more"):
        db3.load_images(tmp_path, size=4)


def test_sizes_that_differ_are_named_with_the_remedy(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "a.png", "b.png")
    write_pictures(tmp_path, "c.png", size=(50, 40))
    with pytest.raises(DataError, match=r"12x20 of the first, 40x50 of 1, such as c.png: set .* \(or size\)"):
        db3.load_images(tmp_path)
    with pytest.raises(DataError, match=r"item 1 of the list is 9x9 \(height x width\), the first 8x8: set size"):
        db3.load_images([np.zeros((8, 8), np.uint8), np.zeros((9, 9), np.uint8)])


def test_pictures_of_other_kinds_are_counted_in_one_warning(
    tmp_path: Path, write_pictures: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures(tmp_path, "1.png")
    for name in ("x.heic", "y.HEIC", "z.svg", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        loaded = db3.load_images(tmp_path)
    (said,) = caplog.messages
    assert "3 pictures are left out (2 .heic, 1 .svg; the first is x.heic), since db3 reads png" in said
    assert loaded.left_out == ("x.heic", "y.HEIC", "z.svg")
    (tmp_path / "1.png").unlink()
    with pytest.raises(DataError, match=r"holds no image but 3 of other kinds, such as x.heic; expected png"):
        db3.load_images(tmp_path)


def test_tif_is_read(tmp_path: Path) -> None:
    for place, mode in enumerate(("L", "RGB", "1")):
        Image.fromarray(DRAWN[place].transpose(1, 2, 0)).convert(mode).save(tmp_path / f"{place}.tif")
    Image.fromarray(DRAWN[0, 0].astype(np.uint16) * 257).save(tmp_path / "deep.tiff")
    assert db3.load_images(tmp_path, channels=3).images.shape == (4, 3, 10, 14)
    np.testing.assert_array_equal(db3.load_images(tmp_path / "1.tif").images[0], DRAWN[1])


def test_an_unreadable_picture_is_named_by_its_path(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "1.png", "2.png")
    (tmp_path / "2.png").write_bytes(b"damaged")
    for source in (tmp_path, tmp_path / "2.png", [tmp_path / "1.png", tmp_path / "2.png"]):
        with pytest.raises(
            DataError, match=r"/2\.png \(its 7 bytes do not begin as those of an image file\)"
        ) as caught:
            db3.load_images(source)
        assert "BytesIO" not in str(caught.value)
    with pytest.raises(DataError, match=r"cannot read .*3\.png \(No such file or directory\)"):
        db3.load_images([tmp_path / "3.png"])
    with pytest.raises(DataError, match=r"3\.png is not there; expected a folder"):
        db3.load_images(tmp_path / "3.png")


def test_array_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", DRAWN)
    np.savez(tmp_path / "one.npz", anything=DRAWN)
    np.savez(tmp_path / "two.npz", images=DRAWN, labels=np.arange(6)[:, None], more=np.zeros(3))
    np.savez(tmp_path / "none.npz", x=DRAWN, y=DRAWN)
    for name in ("a.npy", "one.npz", "two.npz"):
        np.testing.assert_array_equal(db3.load_images(tmp_path / name).images, DRAWN)
    labels = db3.load_images(tmp_path / "two.npz", limit=4).labels
    assert labels is not None
    assert len(labels) == 4
    with pytest.raises(DataError, match=r"none.npz holds x, y; expected `images`, or one array"):
        db3.load_images(tmp_path / "none.npz")
    for suffix in (".npy", ".npz"):
        (tmp_path / f"damaged{suffix}").write_bytes(b"PK\x03\x04 damaged")
        with pytest.raises(DataError, match=r"damaged\.np"):
            db3.load_images(tmp_path / f"damaged{suffix}")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_as_mnist_ships_them(suffix: str, tmp_path: Path, tiny_mnist: Callable[..., Any]) -> None:
    written = tiny_mnist(tmp_path, suffix)
    loaded = db3.load_images(tmp_path / f"train-images-idx3-ubyte{suffix}")
    np.testing.assert_array_equal(loaded.images[:, 0], written["train-images-idx3-ubyte"])
    assert loaded.labels is not None
    np.testing.assert_array_equal(loaded.labels, written["train-labels-idx1-ubyte"])
    (tmp_path / f"train-labels-idx1-ubyte{suffix}").unlink()
    assert db3.load_images(tmp_path / f"train-images-idx3-ubyte{suffix}").labels is None


class Rows:
    """A data set as those of Hugging Face behave: rows are mappings, `features` tells the classes."""

    def __init__(self, label: str = "label") -> None:
        self.features = {"image": object(), label: type("ClassLabel", (), {"names": ["cat", "dog"]})()}
        self._label = label

    def __len__(self) -> int:
        return 4

    def __getitem__(self, place: int) -> dict[str, Any]:
        if place >= 4:
            raise IndexError(place)
        return {"image": Image.fromarray(DRAWN[place].transpose(1, 2, 0)), self._label: place % 2}


def test_a_hugging_face_dataset_and_one_of_torchvision() -> None:
    loaded = db3.load_images(Rows())
    np.testing.assert_array_equal(loaded.images, DRAWN[:4])
    assert loaded.labels is not None
    assert (loaded.class_names, loaded.labels.tolist()) == (("cat", "dog"), [0, 1, 0, 1])
    assert len(db3.load_images(Rows(), limit=2)) == 2
    pairs = [(row["image"], row["label"]) for row in Rows()]  # type: ignore[attr-defined]
    labels = db3.load_images(pairs).labels
    assert labels is not None
    assert labels.tolist() == [0, 1, 0, 1]
    with pytest.raises(DataError, match="has the columns picture; expected one named image"):
        db3.load_images([{"picture": 1}])


def test_a_generator_of_anything_and_without_an_end(tmp_path: Path) -> None:
    def endless() -> Iterator[Any]:
        while True:
            yield DRAWN[0]
            yield torch.from_numpy(DRAWN[1]) / 255
            yield Image.fromarray(DRAWN[2].transpose(1, 2, 0))
            yield DRAWN[3].transpose(1, 2, 0).tolist()

    loaded = db3.load_images(endless(), limit=4)
    np.testing.assert_array_equal(loaded.images, DRAWN[:4])
    one = db3.load_images(Image.fromarray(DRAWN[0, 0]), size=8, channels=3)
    assert one.images.shape == (1, 3, 8, 8)
    with pytest.raises(DataError, match="yields no image"):
        db3.load_images(iter(()))
    with pytest.raises(DataError, match="item 0 of the list is object; expected a picture of Pillow"):
        db3.load_images([object()])


def test_loaded_images_are_loaded_again() -> None:
    loaded = db3.load_images(db3.load_images(Rows()), limit=3, size=8)
    assert (loaded.images.shape, loaded.class_names) == ((3, 3, 8, 8), ("cat", "dog"))


def test_arrays_and_idx_need_no_extra(tmp_path: Path, tiny_mnist: Callable[..., Any]) -> None:
    tiny_mnist(tmp_path)
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('PIL', 'torchvision', 'sklearn')))\n"
        "import db3, numpy as np\n"
        f"assert len(db3.load_images({str(tmp_path / 'train-images-idx3-ubyte')!r}, limit=5)) == 5\n"
        "assert db3.load_images(np.zeros((2, 8, 8))).shape == (1, 8, 8)\n"
        f"db3.load_images({str(tmp_path)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "pip install 'db3[vision]'" in last, done.stderr


def test_compressed_content_is_what_counts(tmp_path: Path, tiny_mnist: Callable[..., Any]) -> None:
    tiny_mnist(tmp_path)
    plain = tmp_path / "train-images-idx3-ubyte"
    plain.with_suffix(".gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert db3.load_images(plain).digest == db3.load_images(plain.with_suffix(".gz")).digest
