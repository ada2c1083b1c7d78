"""What nobody named: a student's architecture and steps; and what is warned of."""

import numpy as np
import pytest

from db3.settings.training import AssistantSettings, DistillSettings
from db3.soft_labels import TransferSet, alone
from db3.students.choices import choose_steps, remarks, student_settings
from db3.training.train import TrainSettings

AUTO = DistillSettings(architecture="auto", steps="auto", batch=64)


@pytest.mark.parametrize(
    ("images", "steps", "assisted"),
    [
        (10, 1500, 4000),
        (1000, 1500, 4000),
        (10_000, 4000, 4000),
        (25_000, 6000, 12_000),
        (10**6, 12_000, 24_000),
        (10**7, 12_000, 24_000),
    ],
)
def test_more_images_repay_more_steps(images: int, steps: int, assisted: int) -> None:
    assert (choose_steps(images), choose_steps(images, assisted=True)) == (steps, assisted)
    assert choose_steps(images, 256) == steps / 2
    assert choose_steps(50_000) > choose_steps(30_000)


def transfer(count: int, shape: tuple[int, int, int], classes: int) -> TransferSet:
    labels = np.full((count, classes), 1 / classes, np.float32)
    return TransferSet(alone("hard"), None, np.zeros((count, *shape), np.uint8), np.zeros(count, np.int64), labels)


def test_auto_is_resolved_by_the_transfer_set() -> None:
    found = student_settings(AUTO, transfer(1000, (3, 12, 48), 2), None, range(2))
    assert (found.architecture, found.training.steps, tuple(found.seeds)) == ("compact", 3000, (0, 1))
    small = student_settings(AUTO, transfer(1000, (3, 12, 48), 2), 50_000)
    assert small.architecture == "compact_half"
    named = student_settings(DistillSettings(steps=7, batch=3, lr=0.1), transfer(9, (1, 28, 28), 10), None)
    assert (named.architecture, named.training) == ("lenet5_half", TrainSettings(steps=7, batch=3, lr=0.1))


def test_teacher_assistants_want_more_steps() -> None:
    settings = DistillSettings(steps="auto", batch=128, assistants=AssistantSettings(networks=1))
    assert student_settings(settings, transfer(100, (1, 28, 28), 10), None).training.steps == 4000


def test_what_is_warned_of() -> None:
    assert remarks(TrainSettings(steps=400, batch=64), 25_000, 100, None) == []
    assert remarks(TrainSettings(steps=400, batch=64), 400, 100, 101) == []
    large, few = remarks(TrainSettings(steps=10, batch=64), 10_000, 1_020_000, 134_000)
    assert "no smaller than the teacher: 1,020,000 parameters against 134,000" in large
    assert "each of the 10,000 decided images 0.064 times: 10 steps of 64 are few; steps: auto takes 8,000" in few
