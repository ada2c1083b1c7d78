"""db3: knowledge distillation from a teacher that answers with nothing but its decision (top-1 class).

The public names. Heavy ones are imported when first used, so that `import db3` stays cheap.

Silent by default: what is worth a word goes to loggers below `db3`, and progress is shown where it is asked for
(`db3.progress.show_progress`).
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from db3.errors import ConfigError, DataError, Db3Error, TeacherError

logging.getLogger(__name__).addHandler(logging.NullHandler())

if TYPE_CHECKING:
    from db3.datasets import Dataset, open_dataset
    from db3.images.augmented import augmented_images
    from db3.images.priors import prior_images
    from db3.networks import build as build_network
    from db3.networks import load_weights, save_weights
    from db3.report import build_report
    from db3.search import Distances, Method, TransferImages, replay_distances, search_distances
    from db3.soft_labels import inverse, margin
    from db3.teachers import Batching, Budget, Costs, NetworkTeacher, Teacher, TeacherSpec, Votes, open_teacher
    from db3.training.losses import student_loss
    from db3.training.train import TrainSettings, train
    from db3.zero_shot.rounds import RoundSettings, gather
    from db3.zero_shot.zsdb3 import PseudoSamples, Zsdb3, zsdb3

_WHERE = {
    "Batching": "db3.teachers",
    "Budget": "db3.teachers",
    "Costs": "db3.teachers",
    "Dataset": "db3.datasets",
    "Distances": "db3.search",
    "Method": "db3.search",
    "NetworkTeacher": "db3.teachers",
    "PseudoSamples": "db3.zero_shot.zsdb3",
    "RoundSettings": "db3.zero_shot.rounds",
    "Teacher": "db3.teachers",
    "TeacherSpec": "db3.teachers",
    "TrainSettings": "db3.training.train",
    "TransferImages": "db3.search",
    "Votes": "db3.teachers",
    "Zsdb3": "db3.zero_shot.zsdb3",
    "augmented_images": "db3.images.augmented",
    "build_network": "db3.networks:build",
    "build_report": "db3.report",
    "gather": "db3.zero_shot.rounds",
    "inverse": "db3.soft_labels",
    "load_weights": "db3.networks",
    "margin": "db3.soft_labels",
    "search_distances": "db3.search",
    "open_dataset": "db3.datasets",
    "open_teacher": "db3.teachers",
    "prior_images": "db3.images.priors",
    "replay_distances": "db3.search",
    "save_weights": "db3.networks",
    "student_loss": "db3.training.losses",
    "train": "db3.training.train",
    "zsdb3": "db3.zero_shot.zsdb3",
}

__all__ = [
    "Batching",
    "Budget",
    "ConfigError",
    "Costs",
    "DataError",
    "Dataset",
    "Db3Error",
    "Distances",
    "Method",
    "NetworkTeacher",
    "PseudoSamples",
    "RoundSettings",
    "Teacher",
    "TeacherError",
    "TeacherSpec",
    "TrainSettings",
    "TransferImages",
    "Votes",
    "Zsdb3",
    "augmented_images",
    "build_network",
    "build_report",
    "gather",
    "inverse",
    "load_weights",
    "margin",
    "open_dataset",
    "open_teacher",
    "prior_images",
    "replay_distances",
    "save_weights",
    "search_distances",
    "student_loss",
    "train",
    "zsdb3",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"db3 has no {name!r}; its public names are in db3.__all__")
    module, _, attribute = _WHERE[name].partition(":")
    return getattr(import_module(module), attribute or name)
