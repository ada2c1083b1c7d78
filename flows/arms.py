"""Which arms a run compares, built from the folders before distill."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from db3.config import Config
from db3.errors import ConfigError, DataError
from flows.inputs import manifest_of
from flows.soft_labels import labels_of

if TYPE_CHECKING:
    from db3.students.arms import Arm

_MAPPINGS = {"margin": "boundary distances, margin mapping", "inverse": "boundary distances, paper's inverse mapping"}


def build_arms(config: Config, data: Path) -> "list[Arm]":
    """The student first, then the baselines asked for, then the points of the curve."""
    return [_student(config, data), *_baselines(config, data), *(_curve(config, data) if config.distill.curve else [])]


def _transfer(data: Path) -> tuple[Any, Any, Any]:
    from db3.files import read_array

    folder = data / "transfer"
    return (
        read_array(folder / "images.npy"),
        read_array(folder / "decisions.npy", mapped=False),
        read_array(folder / "soft_labels.npy", mapped=False),
    )


def _soft(config: Config, data: Path, name: str, title: str, labels: Any, cost: float) -> "Arm":
    from db3.students.arms import soft
    from db3.students.examples import Examples

    images, decisions, _ = _transfer(data)
    weights, temperature = config.distill.weights, config.distill.temperature
    examples = Examples(images, decisions, labels)
    return soft(name, title, examples, cost, ce=weights.ce, kl=weights.kl, temperature=temperature)


def _student(config: Config, data: Path) -> "Arm":
    manifest = manifest_of(data, "transfer")
    title = _MAPPINGS[manifest["mapping"]]
    return _soft(config, data, "student", title, _transfer(data)[2], manifest["queries"]["per_sample"])


def _baselines(config: Config, data: Path) -> "list[Arm]":
    from db3.students import arms

    learn = config.distill
    images, decisions, labels = _transfer(data)
    classes, seed = labels.shape[1], config.query.seed
    build = {
        "hard": lambda: arms.hard(images, decisions),
        "smoothing": lambda: arms.smoothing(images, decisions, classes, learn.label_smoothing),
        "noise": lambda: arms.noise(
            images, decisions, classes, learn.noise, seed, ce=learn.weights.ce, kl=learn.weights.kl
        ),
        "inverse": lambda: _inverse(config, data),
        "augmented": lambda: _augmented(data),
        "kd": lambda: _kd(config, data),
    }
    return [build[name]() for name in learn.baselines]


def _inverse(config: Config, data: Path) -> "Arm":
    from db3.files import read_array
    from db3.students.arms import TITLES

    distances = read_array(data / "decisions" / "distances.npy", mapped=False)
    labels, _ = labels_of(config, distances, _transfer(data)[1], "inverse")
    return _soft(
        config, data, "inverse", TITLES["inverse"], labels, manifest_of(data, "transfer")["queries"]["per_sample"]
    )


def _augmented(data: Path) -> "Arm":
    """The original samples and their variations, which are made again from the samples and the seed."""
    import numpy as np

    from db3.files import read_array
    from db3.samples.augment import augmented_images
    from db3.students.arms import augmented

    images, decisions, _ = _transfer(data)
    answers = data / "decisions" / "augmented.npy"
    if not answers.is_file():
        raise ConfigError(
            "distill.baselines asks for `augmented`, but no augmented image was asked: set query.augmented=same, "
            "or take it from the list"
        )
    told = read_array(answers, mapped=False)
    made = augmented_images(images, range(len(told)), manifest_of(data, "decisions")["seed"])
    return augmented(np.concatenate([images, made]), np.concatenate([decisions, told]), originals=len(images))


def _kd(config: Config, data: Path) -> "Arm":
    from db3.students.arms import kd
    from db3.students.kd import teacher_logits
    from db3.teachers.local import open_network

    images, decisions, _ = _transfer(data)
    if not (data / "teacher" / "teacher.safetensors").is_file():
        raise DataError("distill.baselines asks for `kd`, but this teacher is not local: take kd from the list")
    logits = teacher_logits(open_network(data / "teacher"), images)
    return kd(images, decisions, logits, config.distill.kd_temperature)


def _curve(config: Config, data: Path) -> "list[Arm]":
    """The student as it would be had each pair stopped after the queries of a checkpoint."""
    import numpy as np

    from db3.files import read_array

    manifest = manifest_of(data, "decisions")
    asked = read_array(data / "decisions" / "asked.npy")
    at = read_array(data / "decisions" / "distances_at.npy")
    arms = []
    for checkpoint, distances in zip(manifest["checkpoints"], at, strict=True):
        labels, _ = labels_of(config, np.array(distances), _transfer(data)[1], config.soft_labels.mapping)
        cost = 1 + float(np.minimum(asked, checkpoint).sum()) / len(asked)
        title = f"the student after {checkpoint} queries per pair"
        arms.append(_soft(config, data, f"student@{checkpoint}", title, labels, cost))
    return arms
