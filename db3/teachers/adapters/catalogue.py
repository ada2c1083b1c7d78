"""The kinds of foreign models: how each is fetched onto a card, and opened from one. Back ends are imported lazily."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from db3.errors import ConfigError
from db3.settings.teacher import Link
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.declared import Declared, Fetched
from db3.teachers.base import Teacher, TeacherSpec

KINDS = ("exported", "onnx", "http", "http_image", "callable")
COUNTED_HERE = ("exported", "onnx")
"""Kinds whose adapters do not tell of what they send: each image costs one answer, and nothing is sent again."""

_EXTRAS = {"onnx": "onnx", "http": "http", "http_image": "http"}


def fetch_foreign(declared: Declared, folder: Path, link: Link | None = None) -> Fetched:
    """Copy what is local of a model into `folder`, read its interface, and check both against the images.

    Local files are tried once on black images; a remote model is asked for its metadata and decides nothing.

    Raises:
        ConfigError, DataError, TeacherError: one line.
    """
    with _back_end(declared.kind):
        match declared.kind:
            case "onnx":
                from db3.teachers.adapters.onnx import fetch_onnx

                fetched = fetch_onnx(declared, folder)
            case "exported":
                from db3.teachers.adapters.exported import fetch_exported

                fetched = fetch_exported(declared, folder)
            case "callable":
                from db3.teachers.adapters.callable import fetch_callable

                fetched = fetch_callable(declared)
            case "http":
                from db3.teachers.adapters.http import fetch_http

                fetched = fetch_http(declared, link or Link())
            case "http_image":
                from db3.teachers.adapters.http_image import fetch_http_image

                fetched = fetch_http_image(declared)
            case _:
                raise ConfigError(f"teacher.kind is {declared.kind!r}; expected one of {', '.join(KINDS)}")
    shown = {"preprocessing": declared.preprocessing.to_json(), "labels": list(declared.labels)}
    return Fetched(
        {"kind": declared.kind, **shown, **fetched.model}, fetched.call_batch, fetched.parameters, fetched.access
    )


def open_foreign(
    card: dict[str, Any],
    folder: Path,
    spec: TeacherSpec,
    device: str,
    sending: Callable[[int], None] | None,
    link: Link,
) -> Teacher:
    """The teacher that a card describes; it takes any number of images.

    Local files are called with one padded shape. Whatever may cost money is never padded.
    """
    kind = card["model"]["kind"]
    with _back_end(kind):
        match kind:
            case "onnx":
                from db3.teachers.adapters.onnx import open_onnx

                return Batching(open_onnx(card, folder, spec, device))
            case "exported":
                from db3.teachers.adapters.exported import open_exported

                return Batching(open_exported(card, folder, spec, device))
            case "callable":
                from db3.teachers.adapters.callable import open_callable

                return Batching(open_callable(card, spec, sending), pad=False)
            case "http":
                from db3.teachers.adapters.http import open_http

                return open_http(card, spec, sending, link)
            case "http_image":
                from db3.teachers.adapters.http_image import open_http_image

                return open_http_image(card, spec, sending, link)
    raise ConfigError(f"teacher.json names the kind {kind!r}; expected one of {', '.join(KINDS)}: fetch it again")


@contextmanager
def _back_end(kind: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if kind not in _EXTRAS or str(error.name).startswith("db3"):
            raise
        raise ConfigError(
            f"teacher.kind={kind} needs the package {error.name}, which is not installed: "
            f"pip install 'db3[{_EXTRAS[kind]}]'"
        ) from error
