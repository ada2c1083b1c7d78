"""A teacher that takes pictures, or pixels in JSON, and answers with classes: what most label-only services are.

What is sent and where the class stands in the answer is described by settings (`db3.teachers.adapters.json_body`), so
that one adapter serves MLflow, Vertex, Hugging Face, BentoML, LitServe and OpenAI-compatible servers (conf/teacher/).
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import httpx2
import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.errors import ConfigError, TeacherError, one_line
from db3.teachers.adapters.foreign_model import FetchedModel, ModelDescription, StoredModel
from db3.teachers.adapters.http_client import Client, Reply, Request
from db3.teachers.adapters.http_settings import Auth, Link
from db3.teachers.adapters.inference_protocol import kind_of, read_json
from db3.teachers.adapters.json_body import Form, compile_path
from db3.teachers.adapters.outputs import STRICT, ClassesMap, Unclear, check_naming, read_class
from db3.teachers.adapters.picture import encode_picture
from db3.teachers.adapters.preprocessing import Preprocessing, from_json
from db3.teachers.base import Answered, Counted, Sending, TeacherSpec, ignored
from db3.teachers.budget import TOKENS

_SEEN: dict[tuple[str, str], Any] = {}  # what answered first, where no version says it: one for all threads


class HttpImageTeacher:
    """A remote service that is sent pictures, several requests at a time.

    Args:
        url: whole address.
        spec: `max_batch` images are asked together, in one request where the form takes many.
        answer: JMESPath of the class (a number, a name or K scores) in the answer; of a list of them where the form
            takes many.
        labels: the service's names of the classes.
        preprocessing: the size of the pictures; the rest is a picture's own. Of pixels, all.
        form: what a request looks like.
        classes_map: which of the K classes each of the model's own is (`db3.teachers.adapters.outputs`).
        unclear: what becomes of answers that are no single class; nothing at `answer` is one.
        constant: JMESPath of what all answers must have alike.
        version: what that has to be; None: as the first answer of this process has it.
        tokens: JMESPath of what an answer was billed for, by the name that `db3.teachers.budget.TOKENS` has for it.
        auth: the token's variable.
        link: limits and retries.
        sending: called with a request's images before each attempt; what it raises passes through.
        answered: called with each answer.
        counted: called with the tokens.

    Raises:
        ConfigError: a path that cannot be read, or no token.
    """

    def __init__(
        self,
        url: str,
        spec: TeacherSpec,
        answer: str,
        labels: Sequence[str],
        preprocessing: Preprocessing | None = None,
        *,
        form: Form | None = None,
        classes_map: ClassesMap | None = None,
        unclear: Unclear = STRICT,
        constant: str | None = None,
        version: str | None = None,
        tokens: Mapping[str, str] | None = None,
        auth: Auth | None = None,
        link: Link | None = None,
        sending: Sending | None = None,
        answered: Answered | None = None,
        counted: Counted = ignored,
    ) -> None:
        check_naming(spec.classes - unclear.reject, labels, classes_map)
        self._form, self._link = form or Form(), link or Link()
        self._rows = spec.max_batch if self._form.many else 1
        self.spec = replace(spec, max_batch=self._rows * self._link.concurrency) if self._form.many else spec
        self._url, self._labels, self._map, self._unclear = url, labels, classes_map, unclear
        self._sending, self._answered, self._counted = sending, answered, counted
        self._see = preprocessing or Preprocessing()
        self._who, self._answer = f"the service {url}", compile_path(answer)
        self._constant, self._version = constant, version
        self._told = compile_path(constant or "@", "constant")
        self._tokens = {name: compile_path(path, name) for name, path in (tokens or {}).items()}
        self._write = self._form.writer(labels)
        self._client = Client(url, self._link, auth or Auth(), self._who)

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """Top-1 class of each image; any number of them.

        Raises:
            TeacherError: one line; what had been answered was told to `answered`.
        """
        starts = range(0, len(images), self._rows)
        shown = self._see.array(images) if self._form.pixels else self._see(images.cpu())

        def request(place: int) -> Request:
            part = shown[starts[place] : starts[place] + self._rows]
            content, kind = self._body(part)
            return Request("POST", self._url, content, {"Content-Type": kind}, len(part))

        def read(place: int, reply: Reply) -> list[int]:
            decisions = self._decisions(reply, min(self._rows, len(images) - starts[place]))
            if self._answered:
                self._answered(starts[place], torch.tensor(decisions))
            return decisions

        ask = [lambda place=place: request(place) for place in range(len(starts))]
        found, error = self._client.ask_all(ask, read, self._sending)
        if error is not None:
            raise error
        told = [decision for part in found if part is not None for decision in part]
        return torch.tensor(told, dtype=torch.int64).to(images.device)

    def _body(self, shown: Any) -> tuple[bytes, str]:
        """Of a request with these images, with its Content-Type."""
        form = self._form
        told = list(shown) if form.pixels else [encode_picture(image, form.format) for image in shown]
        return (self._write(told), "application/json") if form.body == "json" else build_body(told[0], form)

    def _decisions(self, reply: Reply, count: int) -> list[int]:
        plain = reply.headers.get("Content-Type", "").startswith("text/plain")
        value = reply.content.decode("utf-8", "replace").strip() if plain else self._json(reply.content)
        self._check_constant(value)
        for name, find in self._tokens.items():
            if isinstance(tokens := find(value), int):
                self._counted(name, tokens)
        found = self._answer(value)
        if not self._form.many:
            found = [found]
        elif not isinstance(found, list) or len(found) != count:
            told = f"a list of {len(found)}" if isinstance(found, list) else _described(found)
            raise TeacherError(
                f"{self._who} answered {count} images with {_described(value)}, and at teacher.http.answer {told}; "
                f"expected a list of {count} there: correct the path"
            )
        return [self._decision(each, value) for each in found]

    def _json(self, content: bytes) -> Any:
        return read_json(content, self._who, "the whole address that takes requests")

    def _decision(self, found: Any, value: Any) -> int:
        if found is None and not self._unclear.reject:
            raise TeacherError(
                f"{self._who} answered with {_described(value)}, but nothing at teacher.http.answer: correct the "
                "path, or declare in teacher.unclear what becomes of an image that it refuses"
            )
        return read_class(found, self.spec.classes, self._who, self._labels, self._map, self._unclear)

    def _check_constant(self, value: Any) -> None:
        if self._constant is None:
            return
        told = self._client.redacted(self._told(value))
        first = self._version or _SEEN.setdefault((self._url, self._constant), told)
        if told != first:
            raise TeacherError(
                f"{self._who} has {one_line(repr(told), 60)} at teacher.http.constant, but had "
                f"{one_line(repr(first), 60)}: its answers are not mixed; give the new one a teacher.version of its own"
            )


def _described(value: Any) -> str:
    """What came instead: of an object the names in it."""
    return f"an object of {', '.join(list(value)[:5])}" if isinstance(value, dict) and value else kind_of(value)


def build_body(picture: bytes, form: Form) -> tuple[bytes, str]:
    """A body of one picture that is no JSON, and its Content-Type."""
    kind = f"image/{form.format}"
    if form.body == "raw":
        return picture, kind
    sent = httpx2.Request("POST", "http://form", files={form.field: (f"image.{form.format}", picture, kind)})
    return sent.read(), sent.headers["Content-Type"]


def fetch_http_image(description: ModelDescription, folder: Path, link: Link) -> FetchedModel:  # noqa: ARG001  (as all)
    """Check the description; the service is asked nothing, since every question may cost money."""
    http: Mapping[str, Any] = description.http
    form = _form_of(http)
    for name in ("answer", "constant", *TOKENS):
        if http.get(name):
            compile_path(str(http[name]), name)
    if form.pixels:
        description.preprocessing.check(description.input_shape)
    elif description.input_shape[0] not in (1, 3):
        raise ConfigError(f"images have {description.input_shape[0]} channels; expected 1 or 3: set dataset.channels")
    auth = Auth.declared(http)
    auth.secret()
    auth.signer()
    own = {name: http[name] for name in ("answer", "body", "field", "format")}
    own |= {name: http[name] for name in ("request", "each", "model", "prompt", "constant") if http.get(name)}
    model = {"url": str(http["url"]), "version": description.version, **own}
    access = auth.told() | {name: http[name] for name in TOKENS if http.get(name)}
    return FetchedModel(model, description.call_batch, access=access)


def open_http_image(stored: StoredModel) -> HttpImageTeacher:
    """The teacher that a card describes."""
    model, form, access = stored.model, _form_of(stored.model), stored.card["access"]
    see = from_json(model["preprocessing"])
    return HttpImageTeacher(
        model["url"],
        stored.spec,
        model["answer"],
        model["labels"],
        see if form.pixels else Preprocessing(resize=see.resize),
        form=form,
        classes_map=model.get("classes_map"),
        unclear=stored.unclear,
        constant=model.get("constant"),
        version=model["version"],
        tokens={name: access[name] for name in TOKENS if name in access},
        auth=Auth.declared(access),
        link=stored.link,
        sending=stored.sending,
        answered=stored.answered,
        counted=stored.counted,
    )


def _form_of(http: Mapping[str, Any]) -> Form:
    return Form(**{field.name: http[field.name] for field in fields(Form) if field.name in http})
