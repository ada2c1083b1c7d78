"""One picture a request, one class an answer."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from email.parser import BytesParser
from email.policy import HTTP
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from db3.errors import ConfigError, TeacherError
from db3.teachers.adapters.foreign_model import ModelDescription, StoredModel
from db3.teachers.adapters.http_image import HttpImageTeacher, fetch_http_image, open_http_image
from db3.teachers.adapters.http_settings import Link
from db3.teachers.adapters.json_body import Form
from db3.teachers.adapters.picture import encode_picture
from db3.teachers.base import TeacherSpec
from db3.teachers.budget import Costs
from tests.contracts.teacher import TeacherContract
from tests.teachers.hostile import _Server

NAMES = ("night", "dusk", "day")
SPEC = TeacherSpec((3, 4, 5), (0.0, 1.0), 3, 4, "thirds of brightness", levels=256)
QUICK = Link(concurrency=3, timeout=5.0, attempts=3)


class _Service(BaseHTTPRequestHandler):
    """Names the third of brightness; takes all three forms of body."""

    protocol_version = "HTTP/1.1"
    pictures: list[np.ndarray[Any, Any]]
    broken: list[Any]

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.headers["Content-Type"]
        if kind == "application/json":
            body = base64.b64decode(json.loads(body)["image"])
        elif kind.startswith("multipart/"):
            form = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
            part = next(iter(form.iter_parts()))
            assert part.get_param("name", header="content-disposition") == "image"
            body = part.get_content()
        pixels = np.asarray(Image.open(io.BytesIO(body)))
        self.pictures.append(pixels)
        place = min(int(pixels.mean() / 256 * 3), 2)
        scores = [{"label": name, "score": float(k == place)} for k, name in enumerate(NAMES)]
        answer = self.broken.pop() if self.broken else {"best": place, "all": scores, "raw": np.eye(3)[place].tolist()}
        status, answer = (503, {}) if answer is None else answer if isinstance(answer, tuple) else (200, answer)
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def service() -> Iterator[Any]:
    handler = type("Bound", (_Service,), {"pictures": [], "broken": []})
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    handler.url = f"http://127.0.0.1:{server.server_address[1]}/classify"  # type: ignore[attr-defined]
    yield handler
    server.shutdown()
    server.server_close()


class TestHttpImageTeacher(TeacherContract):
    @pytest.fixture
    def teacher(self, service: Any) -> HttpImageTeacher:
        return HttpImageTeacher(service.url, SPEC, "max_by(all, &score).label", NAMES, link=QUICK)


LEVELS = torch.tensor([0.1, 0.5, 0.9, 0.4, 0.8, 0.2]).view(-1, 1, 1, 1).expand(6, 3, 4, 5)
THIRDS = [0, 1, 2, 1, 2, 0]


@pytest.mark.parametrize("body", ["raw", "multipart", "json"])
@pytest.mark.parametrize("answer", ["best", "raw", "max_by(all, &score).label"])
def test_forms_of_body_and_answer(service: Any, body: str, answer: str) -> None:
    sent: list[int] = []
    teacher = HttpImageTeacher(service.url, SPEC, answer, NAMES, form=Form(body), link=QUICK, sending=sent.append)
    assert teacher.decide(LEVELS).tolist() == THIRDS
    assert sent == [1] * 6


def test_the_service_sees_the_very_pixels(service: Any) -> None:
    image = (torch.arange(60) * 4).view(1, 3, 4, 5) / 255
    HttpImageTeacher(service.url, SPEC, "best", NAMES, link=QUICK).decide(image)
    assert np.array_equal(service.pictures[0].transpose(2, 0, 1).reshape(-1), np.arange(60) * 4)


def test_grey_images_are_grey_pictures_and_a_jpeg_is_near() -> None:
    image = torch.linspace(0, 1, 64).view(1, 8, 8)
    assert Image.open(io.BytesIO(encode_picture(image, "png"))).mode == "L"
    jpeg = Image.open(io.BytesIO(encode_picture(image, "jpeg")))
    assert (jpeg.format, jpeg.mode) == ("JPEG", "L")
    assert np.abs(np.asarray(jpeg) / 255 - image[0].numpy()).max() < 0.02
    with pytest.raises(ConfigError, match="2 channels; expected 1 or 3"):
        encode_picture(torch.zeros(2, 8, 8), "png")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"best": "noon"}, "answered 'noon'; expected one of night, dusk, day"),
        ({"best": 3}, "answered class 3; expected 0 … 2"),
        ({"best": {"label": "day"}}, "expected a class number, a class name or 3 scores"),
        ({"best": [0.5, 0.5]}, r"expected \[1, 3\] scores, .* name the right output in teacher\.http\.answer"),
        ({"best": [{"label": "day"}, {"label": "dusk"}]}, "expected a class number, a class name or 3 scores"),
        ({"best": [0.1, float("nan"), 0.2]}, "answered with NaN or Infinity, .*; expected numbers"),
        ({"other": 1}, r"answered with an object of other, but nothing at teacher\.http\.answer"),
        ([], r"answered with a list, but nothing at teacher\.http\.answer"),
        (3, r"answered with a number, but nothing at teacher\.http\.answer"),
        (b"<html>", r"answered with HTML, not JSON: check teacher\.http\.url \(the whole address"),
    ],
)
def test_an_answer_that_is_no_class_stops_with_one_line(service: Any, answer: Any, message: str) -> None:
    service.broken.append(answer)
    with pytest.raises(TeacherError, match=message) as raised:
        HttpImageTeacher(service.url, SPEC, "best", NAMES, link=QUICK).decide(LEVELS[:1])
    assert "\n" not in str(raised.value)
    assert len(service.pictures) == 1


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"error": {"message": "no seed", "type": "x"}}, "(no seed)"),  # OpenAI
        ({"error_code": "X", "message": "Shape (1, 1)\nis wrong"}, "(Shape (1, 1) is wrong)"),  # MLflow
        ({"detail": [{"loc": ["body", "input"], "msg": "Field required"}]}, "(body.input: Field required)"),  # FastAPI
        ({"error": "1 error", "detail": [{"loc": ["image"], "msg": "Field required"}]}, "(1 error: image: Field requ"),
        ({"message": f"Cannot take {[0.0] * 999}: it is no picture"}, "0.0, 0.0]: it is no picture)"),
        ([], f"422 {HTTPStatus(422).phrase}: check"),  # Python 3.13 says Content for Entity
    ],
)
def test_what_the_server_says_of_a_request_is_told(service: Any, told: Any, shown: str) -> None:
    service.broken.append((422, told))
    with pytest.raises(TeacherError) as raised:
        HttpImageTeacher(service.url, SPEC, "best", NAMES, link=QUICK).decide(LEVELS[:1])
    assert shown in str(raised.value)
    assert len(str(raised.value)) < 500
    assert "\n" not in str(raised.value)


def test_a_service_that_is_not_there_was_sent_nothing(service: Any) -> None:
    costs, link = Costs(), Link(concurrency=4, timeout=5.0, outage=0.5)
    teacher = HttpImageTeacher("http://127.0.0.1:9/classify", SPEC, "best", NAMES, link=link, sending=costs.send)
    with pytest.raises(TeacherError, match=r"gave no answer for 0\.5 s"):
        teacher.decide(LEVELS)
    assert costs.sent == 0


def test_what_passes_is_tried_again_and_counted(service: Any) -> None:
    service.broken += [None, None]
    sent: list[int] = []
    teacher = HttpImageTeacher(service.url, SPEC, "best", NAMES, link=QUICK, sending=sent.append)
    assert teacher.decide(LEVELS).tolist() == THIRDS
    assert sum(sent) == len(service.pictures) == 8


def test_fetching_asks_nothing_and_the_card_is_enough(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN_TOKEN", "s3cr3t")
    http = {
        "url": service.url,
        "answer": "best",
        "body": "json",
        "field": "image",
        "format": "png",
        "token": "OWN_TOKEN",
    }
    fetched = fetch_http_image(
        ModelDescription("http_image", (3, 4, 5), 3, NAMES, 16, version="May", http=http), Path(), QUICK
    )
    assert service.pictures == []
    assert "s3cr3t" not in repr(fetched)
    model = {**fetched.model, "preprocessing": {"resize": [8, 8]}, "labels": list(NAMES)}
    teacher = open_http_image(StoredModel({"model": model, "access": fetched.access}, Path(), SPEC, link=QUICK))
    assert teacher.decide(LEVELS).tolist() == THIRDS
    assert service.pictures[0].shape == (8, 8, 3)


def test_a_path_that_cannot_be_read_is_one_line() -> None:
    http = {"url": "http://127.0.0.1:9", "answer": "a[", "body": "raw", "field": "image", "format": "png"}
    with pytest.raises(ConfigError, match=r"teacher\.http\.answer is 'a\['; expected a JMESPath") as raised:
        fetch_http_image(ModelDescription("http_image", (3, 4, 5), 3, NAMES, 16, http=http), Path(), QUICK)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("form", "message"), [({"body": "jsn"}, "body 'jsn'; did you mean json"), ({"format": "gif"}, "format 'gif'")]
)
def test_an_unknown_form_is_one_line(form: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"unknown teacher\.http\.{message}"):
        Form(**form)
