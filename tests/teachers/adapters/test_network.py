"""A real network behind the contract."""

import pytest
import torch
from torch import Tensor, nn

from db3.networks import build
from db3.teachers.adapters.network import NetworkTeacher
from db3.teachers.base import TeacherSpec
from tests.contracts.teacher import TeacherContract

SPEC = TeacherSpec((1, 16, 16), (0.0, 1.0), 10, 32, "lenet5, untrained")


def _lenet() -> nn.Module:
    return build("lenet5", SPEC.input_shape, SPEC.classes, mean=[0.5], std=[0.1], seed=3)


class _Dropping(nn.Module):
    """Decides at random while in training mode."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.dropout(images.flatten(1) + 1, 0.5, self.training)


class TestNetworkTeacher(TeacherContract):
    @pytest.fixture
    def teacher(self) -> NetworkTeacher:
        return NetworkTeacher(_lenet(), SPEC)


def test_the_decision_is_the_networks_argmax() -> None:
    network = _lenet().eval()
    images = torch.rand(32, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(images).argmax(dim=1).tolist()
    assert NetworkTeacher(network, SPEC).decide(images).tolist() == expected


def test_a_tie_goes_to_the_lowest_class() -> None:
    teacher = NetworkTeacher(nn.Flatten(), TeacherSpec((1, 1, 4), (0.0, 1.0), 4, 2, "pixels"))
    images = torch.tensor([[0.1, 0.7, 0.7, 0.2], [0.5, 0.5, 0.5, 0.5]]).view(2, 1, 1, 4)
    assert teacher.decide(images).tolist() == [1, 0]


def test_a_network_in_training_mode_decides_as_in_evaluation_mode() -> None:
    images = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    teacher = NetworkTeacher(_Dropping().train(), TeacherSpec((1, 4, 4), (0.0, 1.0), 16, 8, "dropping"))
    assert teacher.decide(images).tolist() == images.flatten(1).argmax(dim=1).tolist()


def test_no_gradient_leads_back_to_the_images() -> None:
    images = torch.rand(4, 1, 16, 16).requires_grad_()
    assert NetworkTeacher(_lenet(), SPEC).decide(images).grad_fn is None
