"""What nobody named is chosen here: a student's architecture and the length of its training; and what to warn of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from db3.digest import digest_file
from db3.networks import build, choose_student, read_initial_weights
from db3.settings.declare import shared
from db3.settings.training import DistillSettings, Schedule
from db3.soft_labels import TransferSet
from db3.students.train import StudentSettings
from db3.training.train import TrainSettings

_MEASURED = 128  # batch with which the steps below were measured
# (decided images, steps): docs/benchmarks/zero-shot.md, and of 1,000 images docs/benchmarks/students.md
_ALONE = ((1_000, 1500), (10_000, 4000), (25_000, 6000), (100_000, 8000), (1_000_000, 12_000))
_BESIDE_ASSISTANTS = ((10_000, 4000), (25_000, 12_000), (100_000, 24_000))


def choose_steps(images: int, batch: int = _MEASURED, assisted: bool = False) -> int:
    """Optimiser steps that suit so many decided images: more of them repay more steps, ever more slowly.

    At 128 images a step: 1,500 for 1,000 images, 4,000 for 10⁴, 6,000 for 2.5·10⁴, 8,000 for 10⁵ and 12,000 for 10⁶;
    linear in the logarithm between these and level beyond. Another batch takes as many more or fewer steps, so that the
    images seen are as many. Teacher assistants' images are three quarters of a batch: from 2.5·10⁴ images on, what was
    decided takes more steps to be learnt beside them.

    Args:
        images: decided ones that the student learns from.
        batch: images a step.
        assisted: whether teacher assistants label further images.
    """
    at, steps = zip(*(_BESIDE_ASSISTANTS if assisted else _ALONE), strict=True)
    measured = float(np.interp(np.log(max(1, images)), np.log(at), steps))
    return max(1, round(measured * _MEASURED / batch))


def student_settings(
    settings: DistillSettings, transfer: TransferSet, teacher_parameters: int | None, seeds: Sequence[int] = (0,)
) -> StudentSettings:
    """What all students of a run share, each `auto` replaced by what suits the transfer set.

    Args:
        settings: the parameters.
        transfer: what the students learn from.
        teacher_parameters: weights of the teacher; None: unknown.
        seeds: of the students.
    """
    architecture, steps = settings.architecture, settings.steps
    if architecture == "auto":
        channels, height, width = transfer.images.shape[1:]
        architecture = choose_student((channels, height, width), transfer.classes, teacher_parameters).architecture
    if steps == "auto":
        steps = choose_steps(decided_images(transfer), settings.batch, settings.assistants.networks > 0)
    training = TrainSettings(**{**shared(Schedule, settings), "steps": steps})
    return StudentSettings(architecture, training, seeds, _initial(settings.initial_weights, architecture, transfer))


def _initial(path: str | None, architecture: str, transfer: TransferSet) -> dict[str, npt.NDArray[Any]]:
    """Weights that the students begin with, by name; empty: those drawn by their seeds."""
    if path is None:
        return {}
    channels, height, width = transfer.images.shape[1:]
    network = build(architecture, (channels, height, width), transfer.classes, seed=None)
    found = read_initial_weights(path, network, transfer.classes)
    return {name: (value.float() if value.is_floating_point() else value).numpy() for name, value in found.items()}


def told_of_initial(path: str | None) -> dict[str, str]:
    """What model cards tell of the weights that a student began with: the file and its digest."""
    return {} if path is None else {"initial weights": f"{Path(path).name}, SHA-256 {digest_file(Path(path))}"}


def decided_images(transfer: TransferSet) -> int:
    """Images with a decision that the student learns from: the samples, and what their searches asked."""
    return len(transfer.images) + (len(transfer.queried_images.images) if transfer.queried_images else 0)


def remarks(
    training: TrainSettings, images: int, parameters: int, teacher_parameters: int | None, assisted: bool = False
) -> list[str]:
    """What its user should know about a student before it is trained, a line for each.

    Args:
        training: how it is trained.
        images: decided ones that it learns from.
        parameters: its weights.
        teacher_parameters: weights of the teacher; None: unknown.
        assisted: see `choose_steps`.
    """
    found = []
    if teacher_parameters is not None and parameters >= teacher_parameters:
        found.append(
            f"the student is no smaller than the teacher: {parameters:,} parameters against {teacher_parameters:,}; "
            "set architecture to auto or to a smaller one"
        )
    seen = training.steps * training.batch / max(1, images)
    if seen < 1:
        suits = choose_steps(images, training.batch, assisted)
        found.append(
            f"the student sees each of the {images:,} decided images {seen:.2g} times: {training.steps:,} steps of "
            f"{training.batch} are few; steps: auto takes {suits:,}"
        )
    return found
