"""A teacher behind the Open Inference Protocol (KServe v2): MLServer, Triton, KServe, OpenVINO."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.errors import ConfigError, TeacherError
from db3.teachers.adapters.foreign_model import FetchedModel, ModelDescription, StoredModel
from db3.teachers.adapters.http_client import Client, Reply, Request
from db3.teachers.adapters.http_settings import Auth, Link
from db3.teachers.adapters.inference_protocol import (
    BINARY,
    Interface,
    build_request,
    find_output,
    read_answer,
    read_interface,
    read_json_object,
)
from db3.teachers.adapters.outputs import STRICT, ClassesMap, Unclear, check_naming, read_decisions
from db3.teachers.adapters.preprocessing import Preprocessing, from_json
from db3.teachers.adapters.signature import check_classes
from db3.teachers.base import Answered, Sending, TeacherSpec

_MEETING = 5.0  # seconds that a server is waited for which was never there: its address may be wrong
_SEEN: dict[str, str] = {}  # versions that answered first, of models whose metadata tell none: one for all threads


class HttpTeacher:
    """A remote model that is asked several requests at a time.

    Before the first request the server's and the model's metadata are read; a model that is not the one described is
    never asked.

    Args:
        url: of the server, without /v2 and without credentials.
        model: its name there.
        spec: `max_batch` is the number of images of a request; the teacher's own is what fills the link.
        interface: names and types of input and output.
        preprocessing: what the model sees of an image.
        version: to ask for and to expect; None: the model has none.
        metadata: as it was when the teacher was fetched; None: whatever it is.
        labels: names of the classes, for a model that answers with names.
        classes_map: which of the K classes each of the model's own is (`db3.teachers.adapters.outputs`).
        unclear: what becomes of answers that are no single class.
        auth: the token's variable.
        link: limits, retries, encoding.
        sending: called before each attempt with the number of images about to be sent; what it raises passes through.
        answered: called with each request's answers.
    """

    def __init__(
        self,
        url: str,
        model: str,
        spec: TeacherSpec,
        interface: Interface,
        preprocessing: Preprocessing | None = None,
        *,
        version: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        labels: Sequence[str] = (),
        classes_map: ClassesMap | None = None,
        unclear: Unclear = STRICT,
        auth: Auth | None = None,
        link: Link | None = None,
        sending: Sending | None = None,
        answered: Answered | None = None,
    ) -> None:
        check_naming(spec.classes - unclear.reject, labels, classes_map)
        self._see, self._link = preprocessing or Preprocessing(), link or Link()
        self._see.check(spec.input_shape)
        self._rows = interface.rows or spec.max_batch
        self.spec = replace(spec, max_batch=self._rows * self._link.concurrency)
        self._server = _Server(url, model, version, auth or Auth(), self._link)
        self._read = partial(
            read_decisions,
            classes=spec.classes,
            who=self._server.who,
            labels=labels,
            classes_map=classes_map,
            unclear=unclear,
        )
        self._interface, self._version, self._metadata = interface, version, metadata
        self._sending, self._answered, self._binary, self._met = sending, answered, False, False

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """Top-1 class of each image; any number of them.

        Raises:
            TeacherError: one line; what had been answered was told to `answered`.
        """
        if not len(images):
            return torch.empty(0, dtype=torch.int64)
        if not self._met:
            self._meet()
        parts = torch.split(images.cpu(), self._rows)
        names = [""] * len(parts)

        def request(place: int) -> Request:
            part = parts[place]
            if self._interface.rows:
                part = torch.cat([part, part[:1].expand(self._rows - len(part), *part.shape[1:])])
            names[place] = secrets.token_hex(8)
            body, headers = build_request(self._see.array(part), self._interface, names[place], self._binary)
            return Request("POST", self._server.infer_url, body, headers, len(part))

        def read(place: int, reply: Reply) -> Int[Tensor, " _"]:
            decisions = self._decisions(reply, names[place], len(parts[place]))
            if self._answered:
                self._answered(place * self._rows, decisions)
            return decisions

        ask = [lambda place=place: request(place) for place in range(len(parts))]
        decisions, error = self._server.client.ask_all(ask, read, self._sending)
        if error is not None:
            raise error
        return torch.cat([part for part in decisions if part is not None]).to(images.device)

    def _decisions(self, reply: Reply, name: str, count: int) -> Int[Tensor, " _"]:
        who = self._server.who
        value, rest = read_answer(reply, name, who)
        told = {name: value.get(name) for name in ("model_name", "model_version")}
        self._check_version(self._server.client.redacted(told))
        output = find_output(value, rest, self._interface.output, who)
        sent = self._interface.rows or count
        return self._read(output, sent)[:count]

    def _check_version(self, value: Mapping[str, Any]) -> None:
        name, version = value.get("model_name"), value.get("model_version")
        if name is not None and name != self._server.model:
            raise TeacherError(f"{self._server.who} answered as {str(name)[:40]!r}: check teacher.http.model")
        if version is None or str(version) == "":
            return
        if self._version is None:
            self._version = _SEEN.setdefault(self._server.model_url, str(version))
        if str(version) != self._version:
            raise TeacherError(
                f"{self._server.who} answered as version {str(version)[:40]!r}, but was version {self._version!r}: "
                "its answers are not mixed; run the stage fetch_teacher again to take the new one"
            )

    def _meet(self) -> None:
        extensions = self._server.extensions()
        encoding = self._link.encoding
        self._binary = encoding == "binary" or (encoding == "auto" and BINARY in extensions)
        if self._metadata is not None and self._server.metadata() != self._metadata:
            raise TeacherError(
                f"{self._server.who} describes itself otherwise than when it was fetched: another model or version; "
                "run the stage fetch_teacher again to take it"
            )
        self._met = True


class _Server:
    """The addresses of a model, and what the server says of it."""

    def __init__(self, url: str, model: str, version: str | None, auth: Auth, link: Link) -> None:
        self._root, self.model, self.who = f"{url}/v2", model, f"the model {model} at {url}"
        self.model_url = f"{self._root}/models/{quote(model, safe='')}"
        if version is not None:
            self.model_url += f"/versions/{quote(version, safe='')}"
        self.infer_url = httpx2.URL(f"{self.model_url}/infer")  # read once: that costs as much as sending it
        self.client = Client(url, link, auth, self.who)

    def extensions(self) -> list[str]:
        value = self._get(self._root)
        found = value.get("extensions")
        return [str(name) for name in found] if isinstance(found, list) else []

    def metadata(self) -> dict[str, Any]:
        """What the model says of itself: `name`, `versions`, `platform`, `inputs`, `outputs`."""
        return self._get(self.model_url)

    def _get(self, url: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.redacted(
            self.client.ask(lambda: Request("GET", url), lambda reply: read_json_object(reply.content, self.who))
        )
        return found


def fetch_http(description: ModelDescription, folder: Path, link: Link) -> FetchedModel:  # noqa: ARG001  (as all)
    """Read the metadata of server and model; the model is asked nothing."""
    http, see = description.http, description.preprocessing
    see.check(description.input_shape)
    auth, link = Auth.declared(http), replace(link, outage=min(link.outage, _MEETING))
    url, name = str(http["url"]).rstrip("/"), str(http["model"])
    server = _Server(url, name, description.version, auth, link)
    server.extensions()
    metadata = server.metadata()
    interface = read_interface(
        metadata, see, description.input_shape, description.input, description.output, server.who
    )
    for entry in metadata.get("outputs") or []:
        if entry.get("name") == interface.output:
            check_classes(entry.get("shape") or [], description.own_classes, server.who)
    model = {
        "url": url,
        "name": name,
        "version": description.version or _only_version(metadata, server.who),
        "interface": asdict(interface),
        "metadata": metadata,
    }
    return FetchedModel(model, interface.rows or description.call_batch, access=auth.told())


def open_http(stored: StoredModel) -> HttpTeacher:
    """The teacher that a card describes."""
    model = stored.model
    return HttpTeacher(
        model["url"],
        model["name"],
        stored.spec,
        Interface(**model["interface"]),
        from_json(model["preprocessing"]),
        version=model["version"],
        metadata=model["metadata"],
        labels=model["labels"],
        classes_map=model.get("classes_map"),
        unclear=stored.unclear,
        auth=Auth.declared(stored.card["access"]),
        link=stored.link,
        sending=stored.sending,
        answered=stored.answered,
    )


def _only_version(metadata: Mapping[str, Any], who: str) -> str | None:
    versions = [str(version) for version in metadata.get("versions") or []]
    if len(versions) > 1:
        raise ConfigError(f"{who} has the versions {', '.join(versions)}; expected one: set teacher.version")
    return versions[0] if versions else None
