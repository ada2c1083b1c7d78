"""The kinds of foreign models: how each is fetched onto a card, and opened from one. Back ends are imported lazily."""

from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from db3.errors import unknown_name
from db3.extras import needs
from db3.teachers.adapters.foreign_model import FetchedModel, ModelDescription, StoredModel
from db3.teachers.adapters.http_settings import Link
from db3.teachers.adapters.outputs import STRICT, check_naming
from db3.teachers.base import Teacher

# Of each kind: the module here with its functions fetch_KIND and open_KIND, and the extra of db3 that it needs.
ADAPTERS: dict[str, tuple[str, str | None]] = {
    "exported": ("exported", None),
    "onnx": ("onnx", "onnx"),
    "http": ("http", "http"),
    "http_image": ("http_image", "http"),
    "callable": ("callable", None),
    "process": ("process", None),
}


def fetch_foreign(description: ModelDescription, folder: Path, link: Link | None = None) -> FetchedModel:
    """Copy what is local of a model into `folder`, read its interface, and check both against the images.

    Local files are tried once on black images; a remote model is asked for its metadata and decides nothing.

    Raises:
        ConfigError, DataError, TeacherError: one line.
    """
    check_naming(description.classes, description.labels, description.classes_map)
    fetched: FetchedModel = _function("fetch", description.kind)(description, folder, link or Link())
    shown: dict[str, Any] = {"preprocessing": description.preprocessing.to_json(), "labels": list(description.labels)}
    if description.classes_map is not None:
        shown["classes_map"] = list(description.classes_map)
    if description.unclear != STRICT:
        shown["unclear"] = {name: getattr(description.unclear, name) for name in ("reject", "first", "threshold")}
    return replace(fetched, model={"kind": description.kind, **shown, **fetched.model})


def open_foreign(stored: StoredModel) -> Teacher:
    """The teacher that a card describes; it takes any number of images and announces what it sends.

    Local files are called with one padded shape. Whatever may cost money is never padded.

    Raises:
        ConfigError, DataError, TeacherError: one line.
    """
    teacher: Teacher = _function("open", stored.model["kind"])(stored)
    return teacher


def _function(verb: str, kind: str) -> Any:
    if kind not in ADAPTERS:
        raise unknown_name("teacher.kind", kind, ADAPTERS)
    module, extra = ADAPTERS[kind]
    with nullcontext() if extra is None else needs(extra, f"teacher.kind={kind}"):
        return getattr(import_module(f"db3.teachers.adapters.{module}"), f"{verb}_{kind}")
