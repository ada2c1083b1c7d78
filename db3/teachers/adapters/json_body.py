"""JSON that is sent and JSON that comes back, as the user describes both: placeholders there, paths here."""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jmespath
import orjson
from jmespath import functions
from jmespath.exceptions import JMESPathError

from db3.errors import ConfigError, unknown_name
from db3.settings.teacher import PLACEHOLDERS

BODIES, FORMATS = ("raw", "multipart", "json"), ("png", "jpeg")
_PLACEHOLDER = re.compile(rf"\$({'|'.join(PLACEHOLDERS)})\b")


@dataclass(frozen=True)
class Form:
    """What a request of pictures looks like.

    Attributes:
        body: `raw` (the picture is the body), `multipart` (a form's file) or `json`.
        field: of the form, or of a JSON body without a `request`, which then holds the base64 of the picture.
        format: of a picture, `png` or `jpeg`.
        request: a JSON body. A text that is one placeholder becomes its value, one within a text becomes text:
            `$picture` (base64), `$pixels` (nested lists of numbers), `$images` (a list with `each` of every image),
            `$labels` (a list; within a text the names with commas between), `$model`, `$prompt`, `$format`.
        each: what `$images` holds of one image.
        model: `$model`.
        prompt: `$prompt`; may hold `$labels`.

    Raises:
        ConfigError: an unknown body or format.
    """

    body: str = "raw"
    field: str = "image"
    format: str = "png"
    request: str | None = None
    each: str | None = None
    model: str | None = None
    prompt: str | None = None

    def __post_init__(self) -> None:
        for what, value, known in (("body", self.body, BODIES), ("format", self.format, FORMATS)):
            if value not in known:
                raise unknown_name(f"teacher.http.{what}", value, known)

    @property
    def many(self) -> bool:
        """Whether a request holds several images."""
        return self.request is not None and "$images" in self.request

    @property
    def pixels(self) -> bool:
        """Whether a request holds numbers, not pictures."""
        return "$pixels" in (self._each if self.many else self.request or "")

    @property
    def _each(self) -> str:
        return self.each or '"$pixels"'

    def writer(self, labels: Sequence[str]) -> Callable[[Sequence[Any]], bytes]:
        """Of a JSON body: what becomes of the images of a request, each as bytes of a picture or as an array."""
        request = json.loads(self.request or json.dumps({self.field: "$picture"}))
        each, name = json.loads(self._each), "pixels" if self.pixels else "picture"
        plain: dict[str, Any] = {"labels": list(labels), "model": self.model, "format": self.format}
        plain["prompt"] = _filled(self.prompt, plain)

        def write(images: Sequence[Any]) -> bytes:
            told = [image if self.pixels else base64.b64encode(image).decode() for image in images]
            held = [_filled(each, {**plain, name: image}) for image in told] if self.many else []
            body = _filled(request, {**plain, "images": held, **({} if self.many else {name: told[0]})})
            return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)

        return write


def _filled(template: Any, values: Mapping[str, Any]) -> Any:
    """The template with its placeholders filled in; those without a value stay as they are."""
    if isinstance(template, dict):
        return {name: _filled(inner, values) for name, inner in template.items()}
    if isinstance(template, list):
        return [_filled(inner, values) for inner in template]
    if not isinstance(template, str):
        return template
    whole = _PLACEHOLDER.fullmatch(template)
    if whole and whole[1] in values:
        return values[whole[1]]
    return _PLACEHOLDER.sub(lambda found: _text(values.get(found[1], found[0])), template)


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


class _Functions(functions.Functions):  # type: ignore[misc]  # jmespath has no types
    """JMESPath's own functions, and `from_json`: of a text that is JSON its value, of any other null."""

    @functions.signature({"types": ["string", "null"]})  # type: ignore[untyped-decorator]
    def _func_from_json(self, text: str | None) -> Any:
        try:
            return json.loads(text or "")
        except ValueError:
            return None


_OPTIONS = jmespath.Options(custom_functions=_Functions())


def compile_path(path: str, name: str = "answer") -> Callable[[Any], Any]:
    """A JMESPath as a function of a JSON value; where it does not fit the value, it finds None.

    Args:
        path: may use `from_json(text)`.
        name: of its parameter below teacher.http.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        compiled = jmespath.compile(path)
    except JMESPathError:
        raise ConfigError(
            f"teacher.http.{name} is {path!r}; expected a JMESPath such as predictions[0].label: correct it"
        ) from None

    def search(value: Any) -> Any:
        try:
            return compiled.search(value, options=_OPTIONS)
        except JMESPathError:
            return None

    return search
