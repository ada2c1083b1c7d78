import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import MNIST, FashionMNIST

from db3.datasets import open_dataset
from db3.errors import DataError

Tiny = Callable[..., dict[str, np.ndarray]]


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("folder", [".", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_are_found_and_not_fetched(folder: str, suffix: str, tmp_path: Path, tiny_mnist: Tiny) -> None:
    written = tiny_mnist(tmp_path / folder, suffix)
    data = open_dataset("mnist", tmp_path)
    train, test = data.train(), data.test()
    assert (len(data.train_index), data.test_index.tolist()) == (30, list(range(30, 42)))
    np.testing.assert_array_equal(train.images[:, 0], written["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(train.labels, written["train-labels-idx1-ubyte"])
    np.testing.assert_array_equal(test.images[:, 0], written["t10k-images-idx3-ubyte"])
    np.testing.assert_array_equal(test.labels, written["t10k-labels-idx1-ubyte"])


def test_agrees_with_torchvision(tmp_path: Path, tiny_mnist: Tiny) -> None:
    tiny_mnist(tmp_path / "MNIST" / "raw")
    part, reference = open_dataset("mnist", tmp_path, download=False).test(), MNIST(tmp_path, train=False)
    np.testing.assert_array_equal(part.images[:, 0], reference.data.numpy())
    np.testing.assert_array_equal(part.labels, reference.targets.numpy())


def test_packing_and_place_do_not_change_the_digest(tmp_path: Path, tiny_mnist: Tiny) -> None:
    tiny_mnist(tmp_path / "plain")
    tiny_mnist(tmp_path / "packed" / "mnist", ".gz")
    tiny_mnist(tmp_path / "other", seed=1)
    digests = [open_dataset("mnist", tmp_path / place).digest for place in ("plain", "packed", "other")]
    assert digests[0] == digests[1] != digests[2]
    assert open_dataset("mnist", tmp_path / "plain", size=32).digest != digests[0]


def test_training_does_not_read_test_images(tmp_path: Path, tiny_mnist: Tiny) -> None:
    tiny_mnist(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])
    data = open_dataset("mnist", tmp_path)
    assert len(data.train()) == 30
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte holds 9,403 bytes of values; its header says 9,408"):
        data.test()


def test_limits_size_and_channels(tmp_path: Path, tiny_mnist: Tiny) -> None:
    tiny_mnist(tmp_path)
    data = open_dataset("mnist", tmp_path, size=32, channels=3, train_limit=7, test_limit=3)
    whole = open_dataset("mnist", tmp_path)
    assert data.image_shape == data.train().images.shape[1:] == (3, 32, 32)
    assert len(data.test()) == 3
    np.testing.assert_array_equal(data.train().labels, whole.train().labels[data.train_index])


def test_counts_of_images_and_labels_must_agree(
    tmp_path: Path, tiny_mnist: Tiny, write_idx: Callable[[Path, np.ndarray], None]
) -> None:
    tiny_mnist(tmp_path)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(29))
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte holds 29 labels; .* holds 30 images"):
        open_dataset("mnist", tmp_path)


def test_labels_must_be_classes(
    tmp_path: Path, tiny_mnist: Tiny, write_idx: Callable[[Path, np.ndarray], None]
) -> None:
    tiny_mnist(tmp_path)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.full(30, 10))
    with pytest.raises(DataError, match="holds the label 10; expected 0 … 9"):
        open_dataset("mnist", tmp_path).train()


def test_the_missing_file_is_named(tmp_path: Path, tiny_mnist: Tiny) -> None:
    tiny_mnist(tmp_path, ".gz")
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte \(or .gz\) is in none of"):
        open_dataset("mnist", tmp_path, download=False)


def test_real_mnist_is_the_published_one(shared_data: Path) -> None:
    data = open_dataset("mnist", shared_data, download=False)
    train, test = data.train(), data.test()
    assert train.labels is not None
    assert test.labels is not None
    published = {
        "6bbc9ace898e44ae57da46a324031adb": (train.images, (2051, 60_000, 28, 28)),
        "a25bea736e30d166cdddb491f175f624": (train.labels, (2049, 60_000)),
        "2646ac647ad5339dbf082846283269ea": (test.images, (2051, 10_000, 28, 28)),
        "27ae3e4e09519cfbb04c329615203637": (test.labels, (2049, 10_000)),
    }
    for md5, (values, head) in published.items():
        raw = np.array(head, dtype=">u4").tobytes() + values.astype(np.uint8).tobytes()
        assert hashlib.md5(raw).hexdigest() == md5  # noqa: S324  (the publisher's choice)


def test_mnist_is_not_taken_for_fashion_mnist(shared_data: Path) -> None:
    with pytest.raises(DataError, match="holds MNIST's labels; expected Fashion-MNIST's"):
        open_dataset("fashion_mnist", shared_data / "mnist", download=False)


def test_fashion_mnist_has_its_own_classes(tmp_path: Path, tiny_mnist: Tiny) -> None:
    tiny_mnist(tmp_path)  # MNIST's names, directly in the root
    written = tiny_mnist(tmp_path / "FashionMNIST" / "raw", seed=1)
    for path in tmp_path.glob("*ubyte"):
        path.unlink()
    data = open_dataset("fashion_mnist", tmp_path, download=False)
    assert data.class_names[9] == "Ankle boot"
    np.testing.assert_array_equal(data.test().images[:, 0], written["t10k-images-idx3-ubyte"])


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("folder", ["fashion_mnist", "fashion-mnist", "FashionMNIST/raw"])
def test_fashion_mnist_is_found_beside_mnist_under_one_root(folder: str, tmp_path: Path, tiny_mnist: Tiny) -> None:
    """As a folder of data sets holds them: the published .gz files, which bear the names of MNIST's."""
    mnist = tiny_mnist(tmp_path / "mnist", ".gz")
    fashion = tiny_mnist(tmp_path / folder, ".gz", seed=1)
    for name, written in (("mnist", mnist), ("fashion_mnist", fashion)):
        data = open_dataset(name, tmp_path)
        assert (len(data.train_index), len(data.test_index), data.image_shape) == (30, 12, (1, 28, 28))
        np.testing.assert_array_equal(data.train().images[:, 0], written["train-images-idx3-ubyte"])
        np.testing.assert_array_equal(data.test().labels, written["t10k-labels-idx1-ubyte"])


def test_fashion_mnist_agrees_with_torchvision(tmp_path: Path, tiny_mnist: Tiny) -> None:
    tiny_mnist(tmp_path / "FashionMNIST" / "raw")
    data = open_dataset("fashion_mnist", tmp_path, download=False)
    reference = FashionMNIST(tmp_path, train=True)
    np.testing.assert_array_equal(data.train().images[:, 0], reference.data.numpy())
    np.testing.assert_array_equal(data.train().labels, reference.targets.numpy())
    assert list(data.class_names) == reference.classes


def test_gz_and_plain_files_may_be_mixed(tmp_path: Path, tiny_mnist: Tiny) -> None:
    written = tiny_mnist(tmp_path)
    plain = tmp_path / "train-images-idx3-ubyte"
    plain.with_name(f"{plain.name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    part = open_dataset("mnist", tmp_path, download=False).train()
    np.testing.assert_array_equal(part.images[:, 0], written["train-images-idx3-ubyte"])
