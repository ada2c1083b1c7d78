"""A teacher that takes one picture a request and answers with a class: what most label-only services are."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx2
import jmespath
import orjson
import torch
from jaxtyping import Float, Int
from jmespath.exceptions import JMESPathError
from PIL import Image
from torch import Tensor

from db3.errors import ConfigError, TeacherError, unknown_name
from db3.pixels import to_bytes
from db3.teachers.adapters.foreign_model import FetchedModel, ModelDescription, StoredModel
from db3.teachers.adapters.http_client import Client, Reply, Request
from db3.teachers.adapters.http_settings import Auth, Link
from db3.teachers.adapters.inference_protocol import read_json_object
from db3.teachers.adapters.outputs import ClassesMap, check_naming, read_class
from db3.teachers.adapters.preprocessing import Preprocessing, from_json
from db3.teachers.base import Answered, Sending, TeacherSpec

BODIES, FORMATS = ("raw", "multipart", "json"), ("png", "jpeg")


class HttpImageTeacher:
    """A remote service that is sent pictures, several requests at a time.

    Args:
        url: whole address.
        spec: `max_batch` images are asked together.
        answer: JMESPath of the class (a number, a name or K scores) in the answer.
        labels: the service's names of the classes.
        preprocessing: the size of the pictures; the rest is a picture's own.
        classes_map: which of the K classes each of the model's own is (`db3.teachers.adapters.outputs`).
        body: `raw`, `multipart` or `json` (base64).
        field: of the form or of the JSON.
        format: `png` or `jpeg`.
        auth: the token's variable.
        link: limits and retries.
        sending: called with 1 before each attempt; what it raises passes through.
        answered: called with each answer.

    Raises:
        ConfigError: an unknown body or format, a path that cannot be read, or no token.
    """

    def __init__(
        self,
        url: str,
        spec: TeacherSpec,
        answer: str,
        labels: Sequence[str],
        preprocessing: Preprocessing | None = None,
        *,
        classes_map: ClassesMap | None = None,
        body: str = "raw",
        field: str = "image",
        format: str = "png",  # noqa: A002  (Pillow's own word)
        auth: Auth | None = None,
        link: Link | None = None,
        sending: Sending | None = None,
        answered: Answered | None = None,
    ) -> None:
        _check_form(body, format)
        check_naming(spec.classes, labels, classes_map)
        self._map = classes_map
        self._url, self.spec, self._labels = url, spec, labels
        self._sending, self._answered = sending, answered
        self._see, self._form, self._format = preprocessing or Preprocessing(), (body, field), format
        self._who, self._answer = f"the service {url}", compile_path(answer)
        self._client = Client(url, link or Link(), auth or Auth(), self._who)

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """Top-1 class of each image; any number of them.

        Raises:
            TeacherError: one line; what had been answered was told to `answered`.
        """
        shown = self._see(images.cpu())

        def request(place: int) -> Request:
            content, kind = build_body(encode_picture(shown[place], self._format), self._format, *self._form)
            return Request("POST", self._url, content, {"Content-Type": kind}, 1)

        ask = [lambda place=place: request(place) for place in range(len(shown))]
        found, error = self._client.ask_all(ask, self._read, self._sending)
        if error is not None:
            raise error
        return torch.tensor([decision for decision in found if decision is not None], dtype=torch.int64).to(
            images.device
        )

    def _read(self, place: int, reply: Reply) -> int:
        decision = self._decision(reply)
        if self._answered:
            self._answered(place, torch.tensor([decision]))
        return decision

    def _decision(self, reply: Reply) -> int:
        value = read_json_object(reply.content, self._who)
        try:
            found = self._answer.search(value)
        except JMESPathError:
            found = None
        if found is None:
            keys = ", ".join(list(value)[:5]) or "nothing"
            raise TeacherError(
                f"{self._who} answered with {keys}, but nothing at teacher.http.answer: correct the path"
            )
        return read_class(found, self.spec.classes, self._who, self._labels, self._map)


def encode_picture(image: Float[Tensor, "c h w"], kind: str) -> bytes:
    """A grey or colour picture of an image in [0, 1], its pixels rounded to 1/255; JPEG at quality 100."""
    pixels = to_bytes(image)
    if pixels.shape[0] not in (1, 3):
        raise ConfigError(
            f"images have {pixels.shape[0]} channels; expected 1 or 3 for a picture: set dataset.channels"
        )
    array = pixels[0].numpy() if pixels.shape[0] == 1 else pixels.permute(1, 2, 0).contiguous().numpy()
    file = io.BytesIO()
    more = {"quality": 100, "subsampling": 0} if kind == "jpeg" else {"compress_level": 1}
    Image.fromarray(array).save(file, kind.upper(), **more)
    return file.getvalue()


def build_body(content: bytes, kind: str, body: str, field: str) -> tuple[bytes, str]:
    """A request's body and its Content-Type."""
    if body == "json":
        return orjson.dumps({field: base64.b64encode(content).decode()}), "application/json"
    if body == "multipart":
        form = httpx2.Request("POST", "http://form", files={field: (f"image.{kind}", content, f"image/{kind}")})
        return form.read(), form.headers["Content-Type"]
    return content, f"image/{kind}"


def compile_path(answer: str) -> Any:
    """A JMESPath, ready to search.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return jmespath.compile(answer)
    except JMESPathError:
        raise ConfigError(
            f"teacher.http.answer is {answer!r}; expected a JMESPath such as predictions[0].label: correct it"
        ) from None


def fetch_http_image(description: ModelDescription, folder: Path, link: Link) -> FetchedModel:  # noqa: ARG001  (as all)
    """Check the description; the service is asked nothing, since every question may cost money."""
    http: Mapping[str, Any] = description.http
    compile_path(str(http["answer"]))
    _check_form(http["body"], http["format"])
    if description.input_shape[0] not in (1, 3):
        raise ConfigError(f"images have {description.input_shape[0]} channels; expected 1 or 3: set dataset.channels")
    auth = Auth.declared(http)
    auth.secret()
    own = {name: http[name] for name in ("answer", "body", "field", "format")}
    model = {"url": str(http["url"]), "version": description.version, **own}
    return FetchedModel(model, description.call_batch, access=asdict(auth))


def open_http_image(stored: StoredModel) -> HttpImageTeacher:
    """The teacher that a card describes."""
    model = stored.model
    return HttpImageTeacher(
        model["url"],
        stored.spec,
        model["answer"],
        model["labels"],
        Preprocessing(resize=from_json(model["preprocessing"]).resize),
        classes_map=model.get("classes_map"),
        **{name: model[name] for name in ("body", "field", "format")},
        auth=Auth(**stored.card["access"]),
        link=stored.link,
        sending=stored.sending,
        answered=stored.answered,
    )


def _check_form(body: str, kind: str) -> None:
    for what, value, known in (("body", body, BODIES), ("format", kind, FORMATS)):
        if value not in known:
            raise unknown_name(f"teacher.http.{what}", value, known)
