import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from db3.errors import ConfigError, DataError
from db3.teachers.train import train_teacher
from db3.training.examples import pixels
from db3.training.train import TrainSettings

_SETTINGS = TrainSettings(steps=150, batch=64, lr=3e-3, warmup=5)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """scikit-learn's digits, 8×8 doubled to 16×16, the first 800 for training."""
    images, labels = load_digits(return_X_y=True)
    small = np.round(images.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    return small.repeat(2, axis=2).repeat(2, axis=3), labels.astype(np.int64)


def test_a_teacher_learns_digits_and_normalises_its_pixels(digits: tuple[np.ndarray, np.ndarray]) -> None:  # type: ignore[type-arg]
    images, labels = digits
    network, history = train_teacher("lenet5_half", images[:800], labels[:800], 10, _SETTINGS, seed=1)
    with torch.inference_mode():
        answers = network(pixels(images[800:])).argmax(dim=1).numpy()
    assert (answers == labels[800:]).mean() > 0.9
    assert history[-1].step == 150
    state = network.state_dict()
    assert state["normalise.mean"].tolist() == pytest.approx([images[:800].mean() / 255], rel=1e-5)
    assert state["normalise.std"].tolist() == pytest.approx([images[:800].std() / 255], rel=1e-5)


@pytest.mark.parametrize("augment", ["none", "warp", "crop_flip"])
def test_the_seed_decides_every_byte(digits: tuple[np.ndarray, np.ndarray], augment: str) -> None:  # type: ignore[type-arg]
    images, labels = digits[0][:100], digits[1][:100]
    short = TrainSettings(steps=5, batch=16, augment=augment)

    def state(seed: int) -> list[bytes]:
        network, _ = train_teacher("lenet5_fifth", images, labels, 10, short, seed=seed)
        return [tensor.numpy().tobytes() for tensor in network.state_dict().values()]

    assert state(1) == state(1)
    assert state(1) != state(2)


def test_wrong_arguments_are_named(digits: tuple[np.ndarray, np.ndarray]) -> None:  # type: ignore[type-arg]
    images, labels = digits[0][:10], digits[1][:10]
    with pytest.raises(ConfigError, match=r"augment is 'mixup'; expected 'none', 'warp' or 'crop_flip'"):
        TrainSettings(augment="mixup")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown architecture 'lenet6'"):
        train_teacher("lenet6", images, labels, 10, _SETTINGS, seed=0)
    with pytest.raises(DataError, match="a decision is -1"):
        train_teacher("lenet5_half", images, labels - 1, 10, _SETTINGS, seed=0)
