import numpy as np
from sklearn.datasets import load_digits

from db3.datasets import open_dataset


def test_default_experiment_has_1200_and_597_images_in_proportion() -> None:
    data = open_dataset("digits", test_fraction=0.3322)
    train, test = data.train(), data.test()
    assert (len(train), len(test)) == (1200, 597)
    assert data.image_shape == train.images.shape[1:] == (1, 28, 28)
    assert train.labels is not None
    assert test.labels is not None
    shares = [np.bincount(part.labels, minlength=10) / len(part) for part in (train, test)]
    assert np.abs(shares[0] - shares[1]).max() < 0.003


def test_images_are_the_originals_upsampled() -> None:
    data = open_dataset("digits")
    part, bunch = data.test(), load_digits()
    np.testing.assert_array_equal(part.labels, bunch.target[data.test_index])
    blocks = part.images[:, 0].reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).ravel()
    originals = np.kron(bunch.images[data.test_index], np.ones((1, 7, 7)))  # 56 = 8·7 = 7·8: a common grid
    pooled = originals.reshape(-1, 7, 8, 7, 8).mean(axis=(2, 4)).ravel()
    assert np.corrcoef(blocks, pooled)[0, 1] > 0.99
    assert part.images.max() == 255


def test_own_size_gives_the_exact_grey_values() -> None:
    data = open_dataset("digits", size=8)
    expected = np.rint(load_digits().images * 255 / 16)
    np.testing.assert_array_equal(data.train().images[:, 0], expected[data.train_index])


def test_limits_and_digest() -> None:
    whole, limited = open_dataset("digits"), open_dataset("digits", train_limit=50, test_limit=20, seed=0)
    assert (len(limited.train()), len(limited.test())) == (50, 20)
    assert set(limited.train_index) < set(whole.train_index)
    assert whole.digest == limited.digest
    assert whole.digest != open_dataset("digits", size=32).digest
    assert open_dataset("digits", seed=1).test_index.tolist() != whole.test_index.tolist()
