"""Who decides, what a model of one's own is shown, and how a remote one is reached."""

import json
import re
from operator import attrgetter
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from db3.errors import ConfigError, nearest_name
from db3.settings.declare import Doc, Ge, Le, Matches, check, settings
from db3.settings.training import Arithmetic, Changes, Descent, Positive, Share, require_float32

PLACEHOLDERS = ("picture", "pixels", "images", "format", "model", "prompt", "labels")
"""Of a request in JSON, each after a $."""


@settings
class HttpSettings:
    """Where a remote teacher answers, and how it is asked (kinds http and http_image)."""

    url: Annotated[str | None, Doc("of the server, http(s)://HOST[:PORT][/PATH]; http_image: the whole one")] = None
    model: Annotated[str | None, Doc("http: the model's name on the server")] = None
    token: Annotated[str | None, Doc("NAME of the environment variable that holds the token; never itself")] = None
    header: Annotated[
        Annotated[str, Matches(r"[A-Za-z0-9-]+", "letters, digits and -")], Doc("that carries the token")
    ] = "Authorization"
    scheme: Annotated[
        Annotated[str, Matches(r"[A-Za-z0-9-]*", "letters, digits and -, or nothing")],
        Doc("word before the token; empty: none"),
    ] = "Bearer"
    aws_region: Annotated[
        Annotated[str, Matches(r"[a-z0-9-]+", "a region, as eu-central-1")] | None,
        Doc(
            "requests are signed for it (AWS, version 4) by AWS_ACCESS_KEY_ID, … of the environment; null: they are not"
        ),
    ] = None
    aws_service: Annotated[
        Annotated[str, Matches(r"[a-z0-9-]+", "a service, as sagemaker")], Doc("that the signature names")
    ] = "sagemaker"
    format: Annotated[Literal["png", "jpeg"], Doc("http_image: of the picture sent")] = "png"
    body: Annotated[Literal["raw", "multipart", "json"], Doc("http_image: json: base64 below `field`")] = "raw"
    field: Annotated[
        Annotated[str, Matches(".+", "a name")], Doc("http_image: name of the form's or the JSON's field")
    ] = "image"
    answer: Annotated[str | None, Doc("http_image: JMESPath of the class in the answer, as predictions[0]")] = None
    request: Annotated[
        str | None,
        Doc(
            "http_image: the body as JSON, with $picture (base64), $pixels (numbers), $images (a list with `each` of "
            "every image), $model, $prompt, $labels; null: $picture below `field`"
        ),
    ] = None
    each: Annotated[str | None, Doc("http_image: what $images holds of one image, as JSON; null: $pixels")] = None
    prompt: Annotated[str | None, Doc("http_image: $prompt; may name $labels")] = None
    constant: Annotated[
        str | None, Doc("http_image: JMESPath of what all answers must have alike, as the model's name")
    ] = None
    input_tokens: Annotated[
        str | None, Doc("http_image: JMESPath of the tokens of the question that an answer was billed for")
    ] = None
    output_tokens: Annotated[str | None, Doc("http_image: likewise, of the answer")] = None

    @property
    def sends_pixels(self) -> bool:
        """Whether the request holds numbers, not a picture."""
        request = self.request or ""
        return "$pixels" in request or ("$images" in request and "$pixels" in (self.each or "$pixels"))

    def rules(self) -> None:
        """Messages leave the address out: it may hold what it must not."""
        self._check_address()
        self._check_request()
        if self.aws_region and self.token:
            raise ConfigError(
                "token: requests are signed for aws_region, which takes the header's place: leave one out"
            )

    def _check_request(self) -> None:
        for name, text in (("request", self.request), ("each", self.each)):
            if text is not None and not _is_json(text):
                raise ConfigError(f'{name} is no JSON: quote every placeholder, as {{"image": "$picture"}}')
        self._check_placeholders()
        request, each = self.request, self.each
        if request is None:
            if each is not None:
                raise ConfigError("each: says what $images holds in `request`, which is null: give that, too")
            return
        if self.body != "json":
            raise ConfigError(f"request: is JSON, but body is {self.body}: set body to json")
        if not any(name in request for name in ("$picture", "$pixels", "$images")):
            raise ConfigError("request: holds no image: put $picture, $pixels or $images where it belongs")
        if each is not None and ("$images" not in request or not ("$picture" in each or "$pixels" in each)):
            raise ConfigError("each: expected $images in `request`, and $picture or $pixels here")

    def _check_placeholders(self) -> None:
        """A misspelt one would be sent as it stands, and one without a value as nothing."""
        for name, text in (("request", self.request), ("each", self.each), ("prompt", self.prompt)):
            for found in re.findall(r"\$(\w+)", text or ""):
                near = nearest_name(found, PLACEHOLDERS)
                if near and found not in PLACEHOLDERS:
                    raise ConfigError(f"{name}: holds ${found}; did you mean ${near}?")
                if found in ("model", "prompt") and self.url and not getattr(self, found):
                    raise ConfigError(f"{found} has no value, but {name} holds ${found}: give it one")

    def _check_address(self) -> None:
        parts = urlsplit(self.url or "http://host")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("url: expected http(s)://HOST[:PORT][/PATH]: correct the address")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ConfigError(
                "url: expected no user, password or query in the address: name a token's variable in http.token"
            )
        object.__setattr__(self, "url", self.url.rstrip("/") if self.url else None)
        if self.token is not None and not _is_variable(self.token):
            raise ConfigError(
                "token: expected the NAME of an environment variable, in capitals; the token itself never goes here"
            )


@settings
class Link:
    """How a remote teacher is reached; of a function, attempts and outage. Nothing here decides an answer."""

    concurrency: Annotated[int, Ge(1), Le(256), Doc("requests in flight, of this process to one address")] = 4
    per_second: Annotated[Positive | None, Doc("requests begun a second at most; null: no limit")] = None
    timeout: Annotated[Positive, Doc("seconds until a request must be answered in full")] = 30.0
    attempts: Annotated[int, Ge(1), Le(100), Doc("for each request or call; each of them may be billed")] = 5
    outage: Annotated[
        float, Ge(0), Doc("seconds that a teacher is waited for which is down or starting: refuses, answers 503")
    ] = 60.0
    patience: Annotated[Positive, Doc("longest Retry-After that is waited for, in seconds")] = 300.0
    encoding: Annotated[
        Literal["auto", "json", "binary"], Doc("auto: binary where the server says that it knows it")
    ] = "auto"
    compress: Annotated[bool, Doc("gzip requests too; answers may always come compressed")] = False


@settings
class Price:
    """What asking the teacher is billed at, in any one currency. Nothing here decides an answer."""

    queries: Annotated[Annotated[float, Ge(0)] | None, Doc("of 1,000 images sent, failed attempts included")] = None
    input_tokens: Annotated[
        Annotated[float, Ge(0)] | None, Doc("of a million tokens of questions; teacher.http.input_tokens counts them")
    ] = None
    output_tokens: Annotated[
        Annotated[float, Ge(0)] | None, Doc("of a million tokens of answers; teacher.http.output_tokens counts them")
    ] = None

    @property
    def by_token(self) -> bool:
        """Whether tokens are billed."""
        return self.input_tokens is not None or self.output_tokens is not None

    def cost(self, sent: int | float, input_tokens: int | float = 0, output_tokens: int | float = 0) -> float | None:
        """What so many images and tokens cost; None: no price is told."""
        if self.queries is None and not self.by_token:
            return None
        tokens = (self.input_tokens or 0.0) * input_tokens + (self.output_tokens or 0.0) * output_tokens
        return (self.queries or 0.0) * sent / 1000 + tokens / 1_000_000

    def __str__(self) -> str:
        prices = (
            (self.queries, "per 1,000 images"),
            (self.input_tokens, "per million input tokens"),
            (self.output_tokens, "per million output tokens"),
        )
        return ", ".join(f"{price:g} {unit}" for price, unit in prices if price is not None)


Kind = Literal["train", "checkpoint", "exported", "onnx", "http", "http_image", "callable", "process"]

NEEDS: dict[Kind, tuple[str, ...]] = {
    "train": ("architecture",),
    "checkpoint": ("architecture", "checkpoint"),
    "exported": ("checkpoint",),
    "onnx": ("checkpoint",),
    "http": ("http.url", "http.model"),
    "http_image": ("http.url", "http.answer"),
    "callable": ("function",),
    "process": ("command",),
}
"""The parameters that a kind cannot do without."""


@settings
class ModelSettings:
    """Which model decides, and where it is."""

    kind: Annotated[
        Kind,
        Doc("train: here; checkpoint: weights of a network of db3; the others: see docs/guides/own-teacher.md"),
    ] = "train"
    architecture: Annotated[str | None, Doc("train, checkpoint: a name that db3.networks.build knows")] = "lenet5"
    checkpoint: Annotated[str | None, Doc("path: .safetensors or .pth; exported: .pt2 or .pt; onnx: .onnx")] = None
    function: Annotated[
        Annotated[str, Matches(r"[\w.]+:[\w.]+", "package.module:function")] | None,
        Doc("callable: package.module:function, images to classes"),
    ] = None
    command: Annotated[
        tuple[Annotated[str, Matches(".+", "text")], ...] | None,
        Doc("process: program and arguments, [./classify, --quiet]; no shell reads it"),
    ] = None
    line: Annotated[
        Literal["png", "pixels"], Doc("process: an image's line is the base64 of a PNG, or of its pixels' bytes")
    ] = "png"
    version: Annotated[str | None, Doc("http: to ask for; the others: what you call its state")] = None
    http: HttpSettings = HttpSettings()
    classes: Annotated[Annotated[int, Ge(2)] | None, Doc("null: the dataset's; needed where images have no labels")] = (
        None
    )
    classes_map: Annotated[
        tuple[Annotated[int, Ge(0)] | None, ...] | Literal["from_one"] | None,
        Doc(
            "entry i: which class the model's own class i is (a column of scores, a number, a name of labels); null: "
            "none of ours; from_one: it counts from 1; null for the whole: they are the same"
        ),
    ] = None
    labels: Annotated[tuple[str, ...] | None, Doc("the model's names of classes 0, 1, …; null: the dataset's")] = None
    unclear: Annotated[
        Literal["error", "reject", "skip"],
        Doc(
            "an answer that is no class of these: error: the run stops; reject: it counts as one more class, "
            "`rejected`; skip: likewise, and samples so decided are left out and counted"
        ),
    ] = "error"
    several: Annotated[
        Literal["unclear", "first"], Doc("an answer of several names: it is unclear, or the first one counts")
    ] = "unclear"
    threshold: Annotated[float | None, Doc("scores: an answer whose best one is below it is unclear")] = None
    input: Annotated[str | None, Doc("onnx, http: name; null: the only one")] = None
    output: Annotated[str | None, Doc("onnx, http: name; null: the only one")] = None


@settings
class PixelSettings:
    """What a model sees of a pixel x in [0, 1]: (x - mean) / std * scale."""

    mean: Annotated[
        tuple[float, ...] | None, Doc("of the model's training pixels in [0, 1], one a channel; null: the file's, or 0")
    ] = None
    std: Annotated[tuple[Positive, ...] | None, Doc("likewise; null: the file's, or 1")] = None
    scale: Annotated[Positive, Doc("pixels times this, after mean and std; 255: the model sees 0 … 255")] = 1.0
    resize: Annotated[
        tuple[Annotated[int, Ge(1), Le(4096)], Annotated[int, Ge(1), Le(4096)]] | None,
        Doc("[height, width] that the model sees, bilinear with antialiasing; null: the dataset's"),
    ] = None
    layout: Annotated[
        Literal["NCHW", "NHWC", "flat", "flat_NHWC"],
        Doc("order of the axes that the model sees; flat: one row an image, channel by channel or pixel by pixel"),
    ] = "NCHW"
    channels_order: Annotated[
        Literal["rgb", "bgr"], Doc("that the model sees; mean and std stay in the order of the images, rgb")
    ] = "rgb"
    dtype: Annotated[
        Literal["float32", "float16", "float64", "uint8"], Doc("that the model sees; uint8: values are rounded")
    ] = "float32"


@settings
class TeacherSettings(Descent, Changes, PixelSettings, ModelSettings):
    """Who decides."""

    call_batch: Annotated[
        Annotated[int, Ge(1), Le(65536)] | Literal["auto"],
        Doc(
            "images a call or request; part of the identity but with arithmetic exact; auto: what is fastest here, once"
        ),
    ] = 64
    quantise: Annotated[Literal["none", "uint8"], Doc("uint8: the teacher sees pixels rounded to 1/255")] = "none"
    votes: Annotated[int, Ge(1), Le(1001), Doc("answers a query at most, of which the majority counts")] = 1
    steps: Annotated[int, Ge(1), Doc("kind train: optimiser steps")] = 600
    batch: Annotated[int, Ge(1), Doc("kind train: images a step")] = 128
    lr: Annotated[Positive, Doc("kind train: highest learning rate")] = 0.001
    weight_decay: Annotated[float, Ge(0), Doc("kind train: times the learning rate and the weight")] = 0.0001
    label_smoothing: Annotated[Share, Doc("kind train: share of each true label spread over all classes")] = 0.0
    seed: Annotated[int, Ge(0), Doc("kind train: of weights and order")] = 0
    arithmetic: Annotated[
        Arithmetic,
        Doc("of a network of db3, to train and to decide (bfloat16: in float32); exact: the same bytes everywhere"),
    ] = "exact"

    def __post_init__(self) -> None:
        """`teacher.version=2` is an integer to YAML; of 1.10 it has lost a digit already."""
        version: Any = self.version
        if isinstance(version, float):
            raise ConfigError(
                f"TeacherSettings.version is {version}; expected text: write it in quotes, teacher.version='\"1.10\"'"
            )
        if isinstance(version, int) and not isinstance(version, bool):
            object.__setattr__(self, "version", str(version))
        check(self)

    def rules(self) -> None:
        self._check_needs()
        require_float32(self)
        shown = (self.scale, self.resize, self.layout, self.channels_order, self.dtype)
        ours = self.kind in ("train", "checkpoint")
        if ours and shown != (1.0, None, "NCHW", "rgb", "float32"):
            raise ConfigError(
                f"kind: {self.kind} takes mean and std only: leave scale, resize, layout, channels_order and dtype out"
            )
        if ours and self.classes_map is not None:
            raise ConfigError(
                f"classes_map: a network of db3, kind {self.kind}, has the dataset's classes: leave it out"
            )
        if ours and (self.unclear, self.several, self.threshold) != ("error", "unclear", None):
            raise ConfigError(
                f"unclear: a network of db3, kind {self.kind}, always answers: leave unclear, several and threshold out"
            )
        if self.kind == "train" and (self.mean or self.std):
            raise ConfigError("mean: kind train takes mean and std from its own images: set both to null")
        if self.dtype == "uint8" and (self.mean or self.std or self.scale != 255.0):
            raise ConfigError("dtype: uint8 shows the model pixels 0 … 255: set scale to 255, mean and std to null")
        pictures = (self.kind == "http_image" and not self.http.sends_pixels) or (
            self.kind == "process" and self.line == "png"
        )
        if (self.dtype == "uint8" or pictures) and self.quantise != "uint8":
            raise ConfigError(
                f"quantise is {self.quantise}: a model that is shown uint8 pixels needs quantise: uint8, so that "
                "searches know it"
            )
        arranged = (self.layout, self.channels_order) != ("NCHW", "rgb")
        if pictures and (self.mean or self.std or arranged):
            raise ConfigError(
                f"kind: {self.kind} sends pictures: set mean and std to null, and leave layout and channels_order out"
            )

    def _check_needs(self) -> None:
        for name in NEEDS[self.kind]:
            if not attrgetter(name)(self):
                raise ConfigError(f"{name} has no value; kind {self.kind} needs it: give it one")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _is_variable(name: str) -> bool:
    """Whether a text is an environment variable's name as this project writes them, which no token is."""
    return name.isascii() and name.isidentifier() and name == name.upper()
