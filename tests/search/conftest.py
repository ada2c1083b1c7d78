"""A real network for the searches: LeNet5, trained for some seconds on digits of 16×16."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from db3.datasets import open_dataset
from db3.search import TransferImages
from db3.search.surrogate import surrogate
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.network import NetworkTeacher
from db3.teachers.base import TeacherSpec
from db3.teachers.train import train_teacher
from db3.training.train import TrainSettings


@dataclass(frozen=True)
class RealTeacher:
    """The network (for the independent attack), the teacher made of it, and samples with its decisions."""

    network: nn.Module
    teacher: Batching
    pool: TransferImages


@pytest.fixture
def small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Surrogates compute 8 rows a call instead of 64 and find their basis at 24 points: the same code, much sooner."""
    monkeypatch.setattr(surrogate, "CALL", 8)
    monkeypatch.setattr(surrogate, "_BASIS_SAMPLES", 24)


@pytest.fixture(scope="session")
def real_teacher() -> RealTeacher:
    part = open_dataset("digits", size=16).train()
    settings = TrainSettings(steps=80, batch=64, lr=3e-3, warmup=5)
    network, _ = train_teacher("lenet5", part.images, part.labels, 10, settings, seed=0)
    teacher = Batching(NetworkTeacher(network, TeacherSpec((1, 16, 16), (0.0, 1.0), 10, 64, "lenet5 on digits")))
    images = part.images[:150]
    decisions = teacher.decide(torch.from_numpy(images).float() / 255).numpy()
    assert (decisions == part.labels[:150]).mean() > 0.85
    assert len(np.unique(decisions)) == 10
    return RealTeacher(network, teacher, TransferImages(images, decisions))
