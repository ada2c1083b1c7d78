"""A teacher that takes one picture a request and answers with a class: what most label-only services are."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import httpx2
import jmespath
import orjson
import torch
from jaxtyping import Float, Int
from jmespath.exceptions import JMESPathError
from PIL import Image
from torch import Tensor

from db3.errors import ConfigError, TeacherError
from db3.settings.teacher import Link
from db3.teachers.adapters.connection import Access, Connection, Question, Reply
from db3.teachers.adapters.declared import Declared, Fetched
from db3.teachers.adapters.inference_protocol import json_of
from db3.teachers.adapters.outputs import PartlyAnsweredError, index_of
from db3.teachers.adapters.preprocessing import Preprocessing, from_json
from db3.teachers.base import TeacherSpec


class HttpImageTeacher:
    """A remote service that is sent pictures, several requests at a time.

    Args:
        url: whole address.
        spec: `max_batch` images are asked together.
        answer: JMESPath of the class (a number, a name or K scores) in the answer.
        labels: the service's names of the classes.
        preprocessing: the size of the pictures; the rest is a picture's own.
        body: `raw`, `multipart` or `json` (base64).
        field: of the form or of the JSON.
        format: `png` or `jpeg`.
        access: the token's variable.
        link: limits and retries.
        sending: called with 1 before each attempt; what it raises passes through.
    """

    def __init__(
        self,
        url: str,
        spec: TeacherSpec,
        answer: str,
        labels: Sequence[str],
        preprocessing: Preprocessing | None = None,
        *,
        body: str = "raw",
        field: str = "image",
        format: str = "png",  # noqa: A002  (Pillow's own word)
        access: Access | None = None,
        link: Link | None = None,
        sending: Callable[[int], None] | None = None,
    ) -> None:
        self._url, self._spec, self._labels, self._sending = url, spec, labels, sending
        self._see, self._form, self._format = preprocessing or Preprocessing(), (body, field), format
        self._who, self._answer = f"the service {url}", compiled(answer)
        self._connection = Connection(url, link or Link(), access or Access(), self._who)

    @property
    def spec(self) -> TeacherSpec:
        return self._spec

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """Top-1 class of each image; any number of them.

        Raises:
            TeacherError: one line; `PartlyAnsweredError` where some of the images had been answered.
        """
        shown = self._see(images.cpu())

        def question(place: int) -> Question:
            content, kind = body_of(picture(shown[place], self._format), self._format, *self._form)
            return Question("POST", self._url, content, {"Content-Type": kind}, 1)

        ask = [lambda place=place: question(place) for place in range(len(shown))]
        told, error = self._connection.ask_all(ask, lambda _, reply: self._decision(reply), self._sending)
        if error is not None:
            each = [None if label is None else torch.tensor([label]) for label in told]
            raise PartlyAnsweredError.of(error, each, [1] * len(told))
        return torch.tensor([label for label in told if label is not None], dtype=torch.int64).to(images.device)

    def _decision(self, reply: Reply) -> int:
        value = json_of(reply.content, self._who)
        try:
            found = self._answer.search(value)
        except JMESPathError:
            found = None
        if found is None:
            keys = ", ".join(list(value)[:5]) or "nothing"
            raise TeacherError(
                f"{self._who} answered with {keys}, but nothing at teacher.http.answer: correct the path"
            )
        return index_of(found, self._spec.classes, self._who, self._labels)


def picture(image: Float[Tensor, "c h w"], kind: str) -> bytes:
    """A grey or colour picture of an image in [0, 1], its pixels rounded to 1/255; JPEG at quality 100."""
    pixels = (image * 255).round().clamp(0, 255).to(torch.uint8)
    if pixels.shape[0] not in (1, 3):
        raise ConfigError(
            f"images have {pixels.shape[0]} channels; expected 1 or 3 for a picture: set dataset.channels"
        )
    array = pixels[0].numpy() if pixels.shape[0] == 1 else pixels.permute(1, 2, 0).contiguous().numpy()
    file = io.BytesIO()
    more = {"quality": 100, "subsampling": 0} if kind == "jpeg" else {"compress_level": 1}
    Image.fromarray(array).save(file, kind.upper(), **more)
    return file.getvalue()


def body_of(content: bytes, kind: str, body: str, field: str) -> tuple[bytes, str]:
    """A request's body and its Content-Type."""
    if body == "json":
        return orjson.dumps({field: base64.b64encode(content).decode()}), "application/json"
    if body == "multipart":
        form = httpx2.Request("POST", "http://form", files={field: (f"image.{kind}", content, f"image/{kind}")})
        return form.read(), form.headers["Content-Type"]
    return content, f"image/{kind}"


def compiled(answer: str) -> Any:
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


def fetch_http_image(declared: Declared) -> Fetched:
    """Check what was declared; the service is asked nothing, since every question may cost money."""
    http: Mapping[str, Any] = declared.http
    compiled(str(http["answer"]))
    if declared.input_shape[0] not in (1, 3):
        raise ConfigError(f"images have {declared.input_shape[0]} channels; expected 1 or 3: set dataset.channels")
    access = Access.declared(http)
    access.secret()
    model = {
        "url": str(http["url"]),
        "version": declared.version,
        **{name: http[name] for name in ("answer", "body", "field", "format")},
    }
    return Fetched(model, declared.call_batch, access=asdict(access))


def open_http_image(
    card: dict[str, Any], spec: TeacherSpec, sending: Callable[[int], None] | None, link: Link
) -> HttpImageTeacher:
    """The teacher that a card describes."""
    model = card["model"]
    return HttpImageTeacher(
        model["url"],
        spec,
        model["answer"],
        model["labels"],
        Preprocessing(resize=from_json(model["preprocessing"]).resize),
        **{name: model[name] for name in ("body", "field", "format")},
        access=Access(**card["access"]),
        link=link,
        sending=sending,
    )
