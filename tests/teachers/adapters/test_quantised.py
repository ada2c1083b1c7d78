"""A teacher of uint8 pixels sees rounded images only."""

import pytest
import torch
from torch import Tensor

from db3.teachers.adapters.quantised import Quantised, rounded
from db3.teachers.base import TeacherSpec
from db3.testing.analytic import Brightest
from tests.contracts.teacher import TeacherContract


class _Seeing:
    """Remembers what it saw."""

    spec = TeacherSpec((1, 1, 5), (0.0, 1.0), 2, 8, "uint8", levels=256)

    def __init__(self) -> None:
        self.seen = torch.empty(0)

    def decide(self, images: Tensor) -> Tensor:
        self.seen = images
        return torch.zeros(len(images), dtype=torch.int64)


class TestQuantised(TeacherContract):
    @pytest.fixture
    def teacher(self) -> Quantised:
        return Quantised(Brightest(torch.arange(12).view(3, 2, 2) % 4, max_batch=6))


def test_it_sees_the_very_floats_of_stored_pixels() -> None:
    stored = torch.arange(255, dtype=torch.uint8)[:, None].expand(255, 5).reshape(255, 1, 1, 5)
    teacher = _Seeing()
    Quantised(teacher).decide((stored.float() + 0.4) / 255)
    assert torch.equal(teacher.seen, stored.float() / 255)


def test_levels_span_other_bounds_too() -> None:
    assert rounded(torch.tensor([-1.0, -0.4, 0.2, 1.0]), (-1.0, 1.0), 3).tolist() == [-1.0, 0.0, 0.0, 1.0]


def test_no_levels_change_nothing() -> None:
    images = torch.rand(3, 4)
    assert torch.equal(rounded(images, (0.0, 1.0), 0), images)
