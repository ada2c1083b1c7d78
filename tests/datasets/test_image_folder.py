from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from db3.datasets import open_dataset
from db3.datasets.image_folder import list_folder
from db3.errors import DataError

Write = Callable[..., None]


def test_class_folders_are_split_here(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *(f"{label}/{place}.png" for label in ("dog", "cat") for place in range(10)))
    data = open_dataset("image_folder", tmp_path, size=8, channels=3, test_fraction=0.3)
    train, test = data.train(), data.test()
    assert data.class_names == ("cat", "dog")
    assert np.bincount(train.labels).tolist() == [7, 7]
    assert np.bincount(test.labels).tolist() == [3, 3]
    assert train.images.shape == (14, 3, 8, 8)
    names = sorted(tmp_path.rglob("*.png"))
    assert [("cat", "dog")[label] for label in test.labels] == [names[place].parent.name for place in data.test_index]


def test_pixels_are_those_of_the_files(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "a/2.png", "a/1.png", "b/3.png")
    data = open_dataset("image_folder", tmp_path, test_fraction=0.01)
    part = data.source.read(np.arange(3, dtype=np.int64))
    for image, name in zip(part.images, ("a/1.png", "a/2.png", "b/3.png"), strict=True):
        np.testing.assert_array_equal(image.transpose(1, 2, 0), np.asarray(Image.open(tmp_path / name)))


def test_train_and_test_folders(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "train/a/1.png", "train/b/2.jpg", "train/b/deep/3.PNG", "test/b/4.png", "notes.txt")
    data = open_dataset("image_folder", tmp_path, size=8)
    assert (data.train_index.tolist(), data.test_index.tolist()) == ([0, 1, 2], [3])
    assert data.train().labels.tolist() == [0, 1, 1]
    assert data.test().labels.tolist() == [1]


def test_unlabelled_images(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *(f"{place}.png" for place in range(5)))
    data = open_dataset("image_folder", tmp_path, size=8, channels=1)
    assert data.class_names == ()
    assert data.train().labels is None
    assert data.test().labels is None
    assert (len(data.train()), len(data.test())) == (4, 1)


def test_unlabelled_training_with_labelled_test(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "train/1.png", "train/2.png", "test/a/3.png", "test/b/4.png")
    data = open_dataset("image_folder", tmp_path, size=8)
    assert data.train().labels is None
    assert data.test().labels.tolist() == [0, 1]
    assert data.class_names == ("a", "b")


@pytest.mark.parametrize(
    ("names", "train", "split"),
    [
        (["train/a/1.png", "train/b/2.png"], 2, False),
        (["train/a/1.png", "val/a/2.png"], 1, True),
        (["train/a/1.png", "val/a/2.png", "test/a/3.png"], 1, True),
        (["train/1.png", "car/2.png", "bus/3.png"], 3, False),
    ],
)
def test_folders_named_train(names: list[str], train: int, split: bool, tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *names)
    listing = list_folder(tmp_path)
    assert (listing.train, listing.split) == (train, split)


def test_hidden_files_and_other_files_are_ignored(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "a/1.png", "a/.hidden.png", ".cache/2.png", "a/read.me")
    assert list_folder(tmp_path).names == ("a/1.png",)


def test_order_is_by_class_then_name(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "a-b/1.png", "a/2.png", "a/10.png")
    assert list_folder(tmp_path).names == ("a/10.png", "a/2.png", "a-b/1.png")


def test_digest_follows_names_bytes_and_shape(tmp_path: Path, write_pictures: Write) -> None:
    names = ("a/1.png", "a/2.png", "b/3.png")
    for copy in ("one", "two", "renamed", "changed"):
        write_pictures(tmp_path / copy, *names)
    (tmp_path / "renamed/b").rename(tmp_path / "renamed/c")
    write_pictures(tmp_path / "changed", "a/1.png", size=(21, 12))
    digests = {
        copy: open_dataset("image_folder", tmp_path / copy, size=8, channels=3).digest
        for copy in ("one", "two", "renamed", "changed")
    }
    assert digests["one"] == digests["two"]
    assert len(set(digests.values())) == 3
    assert open_dataset("image_folder", tmp_path / "one", size=9, channels=3).digest not in digests.values()


def test_training_does_not_read_test_images(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "train/a/1.png", "test/a/2.png", "test/a/3.png")
    (tmp_path / "test/a/2.png").write_bytes(b"damaged")
    data = open_dataset("image_folder", tmp_path, size=8)
    assert len(data.train()) == 1
    with pytest.raises(DataError, match=r"1 of 2 images cannot be used; the first is .*test/a/2.png"):
        data.test()


def test_a_check_finds_damaged_images_of_both_parts_before_anything_is_paid_for(
    tmp_path: Path, write_pictures: Write
) -> None:
    write_pictures(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/2.png", "test/b/3.png")
    data = open_dataset("image_folder", tmp_path, size=8)
    data.check()
    (tmp_path / "test/a/2.png").write_bytes(b"damaged")
    (tmp_path / "train/b/1.png").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"2 of 4 images cannot be used; the first is .*train/b/1.png"):
        data.check()


def test_unreadable_images_are_counted_and_the_first_is_named(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *(f"train/a/{place}.png" for place in range(6)), "test/a/1.png")
    for place in (2, 4, 5):
        path = tmp_path / f"train/a/{place}.png"
        path.write_bytes(path.read_bytes()[:100])
    data = open_dataset("image_folder", tmp_path, size=8)
    with pytest.raises(DataError, match=r"3 of 6 images cannot be used; the first is .*/train/a/2.png") as caught:
        data.train()
    assert "\n" not in str(caught.value)


def test_sizes_must_agree_unless_one_is_set(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "train/a/1.png", "test/a/1.png")
    write_pictures(tmp_path, "train/a/2.png", size=(30, 30))
    data = open_dataset("image_folder", tmp_path)
    assert data.image_shape == (3, 12, 20)
    said = r"sizes \(height x width\): 12x20 of the first, 30x30 of 1, such as train/a/2.png: set dataset.size"
    with pytest.raises(DataError, match=said):
        data.train()
    assert open_dataset("image_folder", tmp_path, size=10).train().images.shape == (2, 3, 10, 10)


def test_colour_among_grey_images_is_not_dropped_silently(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "train/a/1.png", "test/a/1.png", mode="L")
    write_pictures(tmp_path, "train/a/2.png")
    data = open_dataset("image_folder", tmp_path)
    assert data.image_shape == (1, 12, 20)
    with pytest.raises(DataError, match=r"set dataset.channels \(or channels\) to 1 or 3"):
        data.train()
    assert open_dataset("image_folder", tmp_path, channels=1).train().images.shape == (2, 1, 12, 20)


@pytest.mark.parametrize(
    ("names", "empty", "message"),
    [
        ([], [], "holds no image; expected png, jpg"),
        (["read.me"], ["a"], "holds no image"),
        (["a/1.png"], ["b", "c"], r"class folder .*/b holds no image \(2 such\)"),
        (["a/1.png", "2.png"], [], "1 loose images, such as 2.png, beside class folders"),
        (["train/a/1.png", "test/b/2.png"], [], "test images of class 'b' but no training image of it"),
        (["train/a/1.png"], ["test"], "test holds no image"),
    ],
)
def test_layouts_that_cannot_be_read_are_explained(
    names: list[str], empty: list[str], message: str, tmp_path: Path, write_pictures: Write
) -> None:
    write_pictures(tmp_path, *names)
    for name in empty:
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=message):
        open_dataset("image_folder", tmp_path)
