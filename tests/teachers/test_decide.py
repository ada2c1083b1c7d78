"""decide_all: the same decisions however many images there are, without touching the network's mode."""

import numpy as np
import pytest
import torch
from torch import nn

from db3.evaluation import decide_all
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.network import NetworkTeacher
from db3.teachers.base import TeacherSpec


class Recorder(nn.Module):
    """A small convolutional network with dropout that remembers the shapes it was called with."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 5)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.drop, self.rows = nn.Dropout(0.9), []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.rows.append(len(images))
        logits: torch.Tensor = self.head(self.drop(self.conv(images).relu().flatten(1)))
        return logits


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (21, 1, 8, 8), dtype=np.uint8)


def test_every_call_has_the_same_rows_and_the_mode_is_kept(images: np.ndarray) -> None:
    network = Recorder().train()
    decide_all(network, images, 8)
    assert network.rows == [8, 8, 8]
    assert network.training


def test_decisions_equal_a_plain_loop_in_evaluation_mode(images: np.ndarray) -> None:
    network = Recorder()
    expected = [int(network.eval()(torch.from_numpy(image[None]) / 255).argmax()) for image in images]
    decisions = decide_all(network.train(), images, 8)
    assert decisions.tolist() == expected
    assert decisions.dtype == np.int64
    assert len(set(expected)) > 1


def test_an_image_is_decided_alike_in_any_company(images: np.ndarray) -> None:
    network = Recorder()
    whole = decide_all(network, images, 8)
    assert whole[:5].tolist() == decide_all(network, images[:5], 8).tolist()
    assert whole[13:].tolist() == decide_all(network, images[13:], 8).tolist()


def test_a_teacher_is_asked_in_its_own_call_shape(images: np.ndarray) -> None:
    network = Recorder()
    teacher = Batching(NetworkTeacher(network, TeacherSpec((1, 8, 8), (0.0, 1.0), 5, 16, "id")))
    assert decide_all(teacher, images, 3).tolist() == decide_all(network, images, 8).tolist()
    assert network.rows[:2] == [16, 16]


def test_no_images_give_no_decisions(images: np.ndarray) -> None:
    assert decide_all(Recorder(), images[:0], 8).shape == (0,)
