"""A teacher's files are put into its folder, and what is known of it is gathered for its card."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from db3.networks import count_parameters, multiply_adds, save_weights
from db3.teachers.adapters.call_shape import CallShape
from db3.teachers.adapters.catalogue import fetch_foreign
from db3.teachers.adapters.foreign_model import FOLDER, ModelDescription
from db3.teachers.adapters.http_settings import Link
from db3.teachers.base import ImageShape
from db3.teachers.folder import WEIGHTS


@dataclass(frozen=True)
class FetchedTeacher:
    """What a teacher's card says of its model; what is not known is None.

    Attributes:
        call_batch: images a call.
        parameters: weights.
        bytes: of its files.
        multiply_adds: for one image.
        memory_format: of a call, where that was measured.
        model: of a model from elsewhere: all that decides its answers but its files.
        access: of a remote one: how its token is sent.
    """

    call_batch: int
    parameters: int | None
    bytes: int | None
    multiply_adds: int | None
    memory_format: str | None = None
    model: dict[str, Any] | None = None
    access: dict[str, Any] | None = None


def fetch_network(
    network: nn.Module, folder: Path, *, architecture: str, input_shape: ImageShape, classes: int, calls: CallShape
) -> FetchedTeacher:
    """Write the weights of a network of db3.

    Args:
        network: on the CPU.
        folder: of the teacher.
        architecture: a name that `db3.networks.build` knows.
        input_shape: (C, H, W).
        classes: K.
        calls: the shape of its calls; no `memory_format`: the usual one.
    """
    save_weights(network, folder / WEIGHTS, {"architecture": architecture, "classes": classes})
    size = (folder / WEIGHTS).stat().st_size
    operations = multiply_adds(network, input_shape)
    return FetchedTeacher(calls.batch, count_parameters(network), size, operations, calls.memory_format or None)


def fetch_model(description: ModelDescription, folder: Path, link: Link | None = None) -> FetchedTeacher:
    """Copy what is local of a model from elsewhere, and read its interface.

    Raises:
        ConfigError, DataError, TeacherError: see `fetch_foreign`.
    """
    found = fetch_foreign(description, folder, link)
    size = sum(path.stat().st_size for path in (folder / FOLDER).rglob("*") if path.is_file())
    access = found.access or None
    return FetchedTeacher(found.call_batch, found.parameters, size or None, None, model=found.model, access=access)
