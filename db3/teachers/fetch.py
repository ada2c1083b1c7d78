"""A teacher's files are put into its folder, and what is known of it is gathered for its card."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64
from torch import nn

from db3.arithmetic import to_exact
from db3.errors import ConfigError, DataError
from db3.networks import count_parameters, multiply_adds, save_weights
from db3.settings.declare import shared
from db3.settings.teacher import PixelSettings, TeacherSettings
from db3.settings.training import Arithmetic
from db3.teachers.adapters.call_shape import CallShape
from db3.teachers.adapters.catalogue import fetch_foreign
from db3.teachers.adapters.foreign_model import FOLDER, ModelDescription
from db3.teachers.adapters.http_settings import Link
from db3.teachers.adapters.outputs import Unclear, full_map
from db3.teachers.adapters.preprocessing import Preprocessing
from db3.teachers.base import ImageShape
from db3.teachers.folder import WEIGHTS

REJECTED = "rejected"
"""Name of the class that unclear answers count as (`teacher.unclear`): the last one."""
_MODEST = 64  # images a call where none is measured: a model from elsewhere may cost money


@dataclass(frozen=True)
class FetchedTeacher:
    """What a teacher's card says of its model; what is not known is None.

    Attributes:
        call_batch: images a call.
        parameters: weights.
        bytes: of its files.
        multiply_adds: for one image.
        memory_format: of a call, where that was measured.
        arithmetic: in which a network of db3 decides.
        model: of a model from elsewhere: all that decides its answers but its files.
        access: of a remote one: how its token is sent.
    """

    call_batch: int
    parameters: int | None
    bytes: int | None
    multiply_adds: int | None
    memory_format: str | None = None
    arithmetic: Arithmetic | None = None
    model: dict[str, Any] | None = None
    access: dict[str, Any] | None = None


def fetch_network(
    network: nn.Module,
    folder: Path,
    *,
    architecture: str,
    input_shape: ImageShape,
    classes: int,
    calls: CallShape,
    arithmetic: Arithmetic,
) -> FetchedTeacher:
    """Write the weights of a network of db3.

    Args:
        network: on the CPU.
        folder: of the teacher.
        architecture: a name that `db3.networks.build` knows.
        input_shape: (C, H, W).
        classes: K.
        calls: the shape of its calls; no `memory_format`: the usual one.
        arithmetic: in which it decides; bfloat16, in which it was trained, decides in float32.

    Raises:
        ConfigError: exact arithmetic of a layer that has no twin.
    """
    if arithmetic == "exact":
        to_exact(network)
    save_weights(network, folder / WEIGHTS, {"architecture": architecture, "classes": classes})
    size = (folder / WEIGHTS).stat().st_size
    operations = multiply_adds(network, input_shape)
    parameters, layout = count_parameters(network), calls.memory_format or None
    decides: Arithmetic = "exact" if arithmetic == "exact" else "float32"
    return FetchedTeacher(calls.batch, parameters, size, operations, layout, decides)


def describe_model(settings: TeacherSettings, shape: ImageShape, class_names: Sequence[str]) -> ModelDescription:
    """A model from elsewhere as the parameters describe it.

    Args:
        settings: of the teacher.
        shape: (C, H, W) of the images.
        class_names: of classes 0, 1, …, without the one that stands for unclear answers.

    Raises:
        ConfigError: labels for another number of classes.
    """
    classes_map = full_map(settings.classes_map, len(class_names))
    labels = settings.labels if settings.labels is not None else class_names if classes_map is None else ()
    if classes_map is None and len(labels) != len(class_names):
        raise ConfigError(
            f"teacher.labels names {len(labels)} classes, but there are {len(class_names)}: name each of them"
        )
    return ModelDescription(
        kind=settings.kind,
        input_shape=shape,
        classes=len(class_names),
        labels=tuple(labels),
        call_batch=_MODEST if settings.call_batch == "auto" else settings.call_batch,
        preprocessing=Preprocessing(**shared(PixelSettings, settings)),
        checkpoint=Path(settings.checkpoint) if settings.checkpoint else None,
        function=settings.function,
        command=settings.command or (),
        line=settings.line,
        version=settings.version,
        input=settings.input,
        output=settings.output,
        http=vars(settings.http),
        classes_map=classes_map,
        unclear=unclear_of(settings),
    )


def unclear_of(settings: TeacherSettings) -> Unclear:
    """What becomes of answers that are no single class."""
    return Unclear(settings.unclear != "error", settings.several == "first", settings.threshold)


def with_rejected(class_names: Sequence[str], settings: TeacherSettings) -> list[str]:
    """The names of the classes that a teacher decides: one more where its unclear answers count as one.

    Raises:
        ConfigError: a class has that name already.
    """
    if settings.unclear == "error":
        return list(class_names)
    if REJECTED in class_names:
        raise ConfigError(
            f"teacher.unclear is {settings.unclear}, but a class is called {REJECTED} already: give that class another "
            "name"
        )
    return [*class_names, REJECTED]


def clear_of(decisions: Int64[np.ndarray, " n"], rejected: int) -> Bool[np.ndarray, " n"]:
    """Which samples stay where those of no class are left out (`teacher.unclear: skip`).

    Args:
        decisions: the teacher's.
        rejected: the class that unclear answers count as.

    Raises:
        DataError: it gave none of them a class.
    """
    clear: Bool[np.ndarray, " n"] = decisions != rejected
    if len(clear) and not clear.any():
        raise DataError(
            f"the teacher gave none of the {len(clear)} samples a class, and teacher.unclear is skip: look at what it "
            "answers, or show it other images"
        )
    return clear


def own_classes(class_names: Sequence[str], unclear: str | None) -> list[str]:
    """The names without the one that unclear answers count as, of which no sample is needed.

    Args:
        class_names: with that one, where there is one.
        unclear: the policy; `error` or None: none of them.
    """
    return list(class_names if unclear in (None, "error") else class_names[:-1])


def fetch_model(description: ModelDescription, folder: Path, link: Link | None = None) -> FetchedTeacher:
    """Copy what is local of a model from elsewhere, and read its interface.

    Raises:
        ConfigError, DataError, TeacherError: see `fetch_foreign`.
    """
    found = fetch_foreign(description, folder, link)
    size = sum(path.stat().st_size for path in (folder / FOLDER).rglob("*") if path.is_file())
    access = found.access or None
    return FetchedTeacher(found.call_batch, found.parameters, size or None, None, model=found.model, access=access)
