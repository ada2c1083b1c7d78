"""Teacher assistants on a problem that a small network learns in a few steps."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from db3.images.priors import prior_images
from db3.networks import build
from db3.settings.training import AssistantSettings, AugmentationName, OwnChanges
from db3.students import assistants
from db3.students.assistants import assisted, beside, opinion, unasked_images
from db3.students.teacher_logits import teacher_logits
from db3.training.examples import Examples, Group
from db3.training.train import TrainSettings, train

SHORT = AssistantSettings(networks=2, architecture="compact", steps=40, images=30, share=0.5)
TRAINING = TrainSettings(batch=16)


def _decided() -> tuple[np.ndarray, np.ndarray]:
    images = prior_images((1, 8, 8), range(80), 0)
    upper, lower = images[:, :, :4].astype(int).sum(axis=(1, 2, 3)), images[:, :, 4:].astype(int).sum(axis=(1, 2, 3))
    return images, (upper > lower).astype(np.int64)


def test_images_never_asked_have_the_assistants_opinion() -> None:
    images, decisions = _decided()
    told = assisted(images, decisions, 2, SHORT, TRAINING, 0)
    assert len(told) == 30
    labels = told.soft_labels
    assert labels is not None
    assert np.array_equal(told.decisions, labels.argmax(axis=1))
    seen = {image.tobytes() for image in images}
    assert not any(image.tobytes() in seen for image in told.images)
    again = assisted(images, decisions, 2, SHORT, TRAINING, 0)
    assert np.array_equal(again.soft_labels, labels)
    assert np.array_equal(again.images, told.images)


@pytest.mark.parametrize(("channels", "augment", "mix"), [(3, "crop_flip", 1.0), (1, "none", 0.0)])
def test_those_of_colour_images_learn_them_changed(
    channels: int, augment: AugmentationName, mix: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself; what is named stands, for colour and grey alike."""
    images = prior_images((channels, 8, 8), range(40), 0)
    decisions = np.arange(40) % 2
    trained = list[TrainSettings]()
    real = assistants.train_together

    def spy(network: nn.Module, examples: Examples, training: TrainSettings, *args: Any, **named: Any) -> object:
        trained.append(training)
        return real(network, examples, training, *args, **named)

    monkeypatch.setattr(assistants, "train_together", spy)
    one, student = replace(SHORT, networks=1, steps=50), replace(TRAINING, mix=0.25)  # twenty times 40 images
    assisted(images, decisions, 2, one, student, 0)
    assisted(images, decisions, 2, replace(one, steps=49), student, 0)
    assisted(images, decisions, 2, replace(one, steps=2, changes=OwnChanges("warp", 0.5)), student, 0)
    learnt = [(each.augment, each.mix, each.steps) for each in trained]
    assert learnt == [(augment, mix, 50), (augment, 0.0, 49), ("warp", 0.5, 2)]


def test_they_take_their_share_and_others_divide_the_rest() -> None:
    images, decisions = _decided()
    some = Examples(images, decisions)
    told = Examples(images, decisions, np.eye(2, dtype=np.float32)[decisions])
    queried_images, unasked = beside([Group("queried_images", some, 0.9)], told, SHORT)
    assert (queried_images.share, unasked.share) == (pytest.approx(0.45), 0.5)
    assert (unasked.ce, unasked.kl, unasked.temperature) == (0.0, 1.0, 1.0)
    network = build("compact", (1, 8, 8), 2, seed=0)
    train(network, some, TrainSettings(steps=2, batch=32), 0, groups=[queried_images, unasked])  # shares of one batch


def test_unasked_images_are_priors_and_variations() -> None:
    images, decisions = _decided()
    made = unasked_images(images, decisions, 30, 1 / 3, 4)
    assert made.shape == (30, 1, 8, 8)
    assert np.array_equal(made[:10], prior_images((1, 8, 8), range(1 << 31, (1 << 31) + 10), 4))


def test_opinion_is_the_normalised_geometric_mean() -> None:
    networks = [build("compact", (1, 8, 8), 3, seed=seed).eval() for seed in range(2)]
    images = prior_images((1, 8, 8), range(5), 0)
    chances = [torch.softmax(torch.from_numpy(teacher_logits(n, images)).double(), dim=1) for n in networks]
    mean = (chances[0] * chances[1]).sqrt()
    assert np.allclose(opinion(networks, images, 1.0), mean / mean.sum(dim=1, keepdim=True), atol=1e-6)
    flat = opinion(networks, images, 100.0)
    assert np.allclose(flat, 1 / 3, atol=0.05)
