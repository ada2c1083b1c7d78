"""Gradient descent as the records use it: momentum, faster shifts, weights that return to their mean."""

import numpy as np
import pytest
import torch
from torch import nn

from db3.errors import ConfigError
from db3.settings.declare import build as build_settings
from db3.settings.teacher import TeacherSettings
from db3.training.float32_optimiser import Float32Optimiser
from db3.training.train import TrainSettings


def _settings(**more: object) -> TrainSettings:
    named = {"steps": 20, "optimiser": "sgd", "arithmetic": "float32", "weight_decay": 0.1, **more}
    return TrainSettings(**named)  # type: ignore[arg-type]


def test_nesterov_as_it_is_written() -> None:
    network = nn.Linear(1, 1, bias=False)
    weight, velocity = float(network.weight.detach()), 0.0
    optimiser = Float32Optimiser(network, _settings(momentum=0.8))
    for step, gradient in enumerate((1.0, -2.0, 0.5)):
        network.weight.grad = torch.full((1, 1), gradient)
        optimiser.step(step, 0.1)
        slope = gradient + 0.1 * weight
        velocity = 0.8 * velocity + slope
        weight -= 0.1 * (slope + 0.8 * velocity)
        assert float(network.weight.detach()) == pytest.approx(weight, rel=1e-5)


def test_shifts_of_norms_learn_faster_and_decay_alike() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1))
    optimiser = Float32Optimiser(network, _settings(momentum=0.0, shift_rate=8.0))
    shift, bias = network.get_parameter("0.bias"), network.get_parameter("1.bias")
    with torch.no_grad():
        shift.fill_(1.0), bias.fill_(1.0)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step(0, 0.01)
    assert shift.tolist() == pytest.approx([1 - 0.01 * (8 + 0.1)] * 2)
    assert float(bias.detach()) == pytest.approx(1 - 0.01 * (1 + 0.1))


def test_lookahead_ends_at_the_running_mean() -> None:
    network = nn.Linear(1, 1, bias=False)
    optimiser = Float32Optimiser(network, _settings(steps=4, lookahead=2, momentum=0.0, weight_decay=0.0))
    mean = float(network.weight.detach())
    for step in range(4):
        network.weight.grad = torch.ones(1, 1)
        optimiser.step(step, 0.1)
        if step == 1:
            kept = 0.774 * (1 / 4) ** 3
            mean = kept * mean + (1 - kept) * (mean - 0.2)
    assert float(network.weight.detach()) == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize(("name", "value"), [("optimiser", "sgd"), ("lookahead", 5)])
def test_what_has_no_exact_form_is_refused(name: str, value: object) -> None:
    for kind in (TrainSettings, TeacherSettings):
        with pytest.raises(ConfigError, match=f"{name} is {value}, which has no exact form: set arithmetic to float32"):
            build_settings(kind, {name: value})


def test_frozen_weights_stay() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 2).requires_grad_(False), nn.BatchNorm2d(2))
    before = network.get_parameter("0.weight").detach().numpy().copy()
    optimiser = Float32Optimiser(network, _settings(lookahead=1))
    network(torch.rand(3, 1, 4, 4)).sum().backward()
    optimiser.step(0, 0.1)
    assert np.array_equal(network.get_parameter("0.weight").numpy(), before)
