"""The kinds of foreign models: how each is fetched onto a card, and opened from one. Back ends are imported lazily."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from db3.errors import ConfigError, unknown_name
from db3.teachers.adapters.declared import Declared, Fetched, Opening
from db3.teachers.adapters.http_settings import Link
from db3.teachers.base import Teacher

# Of each kind: the module here with its functions fetch_KIND and open_KIND, and the extra of db3 that it needs.
ADAPTERS: dict[str, tuple[str, str | None]] = {
    "exported": ("exported", None),
    "onnx": ("onnx", "onnx"),
    "http": ("http", "http"),
    "http_image": ("http_image", "http"),
    "callable": ("callable", None),
}


def fetch_foreign(declared: Declared, folder: Path, link: Link | None = None) -> Fetched:
    """Copy what is local of a model into `folder`, read its interface, and check both against the images.

    Local files are tried once on black images; a remote model is asked for its metadata and decides nothing.

    Raises:
        ConfigError, DataError, TeacherError: one line.
    """
    fetched: Fetched = _function("fetch", declared.kind)(declared, folder, link or Link())
    shown = {"preprocessing": declared.preprocessing.to_json(), "labels": list(declared.labels)}
    return replace(fetched, model={"kind": declared.kind, **shown, **fetched.model})


def open_foreign(opening: Opening) -> Teacher:
    """The teacher that a card describes; it takes any number of images and announces what it sends.

    Local files are called with one padded shape. Whatever may cost money is never padded.

    Raises:
        ConfigError, DataError, TeacherError: one line.
    """
    teacher: Teacher = _function("open", opening.model["kind"])(opening)
    return teacher


def _function(verb: str, kind: str) -> Any:
    if kind not in ADAPTERS:
        raise unknown_name("teacher.kind", kind, ADAPTERS)
    module, extra = ADAPTERS[kind]
    try:
        return getattr(import_module(f"db3.teachers.adapters.{module}"), f"{verb}_{kind}")
    except ModuleNotFoundError as error:
        if extra is None or str(error.name).startswith("db3"):
            raise
        raise ConfigError(
            f"teacher.kind={kind} needs the package {error.name}, which is not installed: pip install 'db3[{extra}]'"
        ) from error
