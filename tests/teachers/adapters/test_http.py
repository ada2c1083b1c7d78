"""The HTTP teacher against a real server, and against one that does everything wrong."""

import logging
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.serving import UnavailableError, served
from db3.errors import ConfigError, TeacherError
from db3.teachers.adapters.foreign_model import ModelDescription, StoredModel
from db3.teachers.adapters.http import HttpTeacher, fetch_http, open_http
from db3.teachers.adapters.http_settings import Auth, Link
from db3.teachers.adapters.inference_protocol import Interface
from db3.teachers.answers.answers import Answers
from db3.teachers.answers.sqlite import SqliteDatabase
from db3.teachers.answers.store import Account, AnswerStore
from db3.teachers.base import TeacherSpec
from db3.teachers.budget import Costs
from db3.teachers.votes import Votes
from tests.contracts.teacher import TeacherContract
from tests.teachers import hostile as faults
from tests.teachers.hostile import Hostile, hostile, status
from tests.teachers.models import CLASSES, SHAPE, SPEC, as_onnx, network, pixels

FOUR = TeacherSpec((1, 1, 4), (0.0, 1.0), 4, 3, "brightest of four")
QUICK = Link(concurrency=2, timeout=1.0, attempts=3, outage=5.0)
IMAGES = torch.rand(8, 1, 1, 4, generator=torch.Generator().manual_seed(0))  # three requests: 3, 3 and 2
RIGHT = IMAGES.flatten(1).argmax(dim=1)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    model = as_onnx(tmp_path_factory.mktemp("served") / "lenet.onnx", network())
    try:
        with served(model) as url:
            yield url
    except UnavailableError as error:
        pytest.skip(str(error))


def opened(url: str, link: Link, sending: Callable[[int], None] | None = None, **http: Any) -> HttpTeacher:
    """Fetched and opened as the pipeline does."""
    names = tuple("0123456789")
    description = ModelDescription("http", SHAPE, CLASSES, names, 8, http={"url": url, "model": "lenet", **http})
    fetched = fetch_http(description, Path(), link)
    card = {"model": {**fetched.model, "preprocessing": {}, "labels": list(names)}, "access": fetched.access}
    return open_http(StoredModel(card, Path(), SPEC, link=link, sending=sending))


class TestRealServer(TeacherContract):
    @pytest.fixture
    def teacher(self, real_server: str) -> HttpTeacher:
        return opened(real_server, Link())

    @pytest.mark.parametrize("compress", [False, True])
    def test_it_decides_as_its_network_and_every_image_is_announced_once(
        self, real_server: str, compress: bool
    ) -> None:
        sent: list[int] = []
        images = pixels(100)
        with torch.inference_mode():
            expected = network()(images).argmax(dim=1)
        teacher = opened(real_server, Link(concurrency=3, compress=compress), sent.append)
        assert torch.equal(teacher.decide(images), expected)
        assert sorted(sent) == [4] + [8] * 12

    def test_no_image_is_no_request(self, teacher: HttpTeacher) -> None:
        assert teacher.decide(torch.empty(0, *SHAPE)).shape == (0,)

    def test_another_name_is_one_line(self, real_server: str) -> None:
        with pytest.raises(TeacherError, match=r"answered 404 .*: check teacher\.http\.url, teacher\.http\.model"):
            opened(real_server, Link(), model="alexnet")

    def test_a_wrong_shape_is_refused_before_anything_is_asked(self, real_server: str) -> None:
        http = {"url": real_server, "model": "lenet"}
        with pytest.raises(ConfigError, match=r"\[-1, 1, 16, 16\], but would be shown \[n, 3, 32, 32\]"):
            fetch_http(ModelDescription("http", (3, 32, 32), 10, (), 8, http=http), Path(), Link())
        with pytest.raises(ConfigError, match=r"tells 10 classes apart, not 7: set teacher\.classes=10"):
            fetch_http(ModelDescription("http", SHAPE, 7, (), 8, http=http), Path(), Link())

    def test_a_version_that_it_does_not_have_is_one_line(self, real_server: str) -> None:
        description = ModelDescription(
            "http", SHAPE, 10, (), 8, version="7", http={"url": real_server, "model": "lenet"}
        )
        with pytest.raises(TeacherError, match="answered 404"):
            fetch_http(description, Path(), Link())


def teacher_of(server: Hostile, link: Link = QUICK, sent: list[int] | None = None, **more: Any) -> HttpTeacher:
    sending = None if sent is None else sent.append
    interface = Interface("x", "FP32", "y", None)
    return HttpTeacher(server.url, "m", FOUR, interface, version="1", link=link, sending=sending, **more)


PASSING = {
    "reset in mid-answer": faults.reset_in_mid_answer,
    "connection closed": faults.hang_up,
    "429": status(429),
    "500": status(500),
    "502": status(502),
    "503": status(503),
    "504": status(504),
    "hang": faults.hang,
    "slow drip": faults.slow_drip,
    "truncated JSON": faults.truncated_json,
    "damaged gzip": faults.damaged_gzip,
    "of another request": faults.of_another_request,
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=list(PASSING))
def test_what_passes_is_tried_again_and_counted(fault: faults.Fault) -> None:
    with hostile(Hostile(script=[fault])) as server:
        sent: list[int] = []
        assert torch.equal(teacher_of(server, sent=sent).decide(IMAGES), RIGHT)
    assert sorted(sent) == sorted(server.images)
    assert sum(sent) - len(IMAGES) in {2, 3}  # one request more


@pytest.mark.parametrize("fault", PASSING.values(), ids=list(PASSING))
def test_what_does_not_pass_stops_with_one_line(fault: faults.Fault) -> None:
    with hostile(Hostile(always=fault)) as server:
        sent: list[int] = []
        with pytest.raises(TeacherError, match=r"gave no answer (in 2 attempts|for 0\.2 s); the last time") as raised:
            teacher_of(server, Link(concurrency=1, timeout=0.3, attempts=2, outage=0.2), sent).decide(IMAGES)
    assert "\n" not in str(raised.value)
    assert set(sent) == {3}
    assert len(sent) == 2 or "for 0.2 s" in str(raised.value)
    assert server.images == sent


PERMANENT = {
    "wrong shape": (faults.output(shape=[3, 5]), "but 12 values; expected 15"),
    "another number of answers": (faults.output(shape=[4, 3]), "gave 4 answers to 3 images"),
    "no shape": (faults.output(shape="many"), "expected a list of sizes"),
    "text as scores": (faults.output(data=["a"] * 12), "whose data is not of that type"),
    "null scores": (faults.output(data=[None] * 12), "whose data is not of that type"),
    "class out of range": (faults.output(datatype="INT64", shape=[3], data=[0, 1, 4]), "answered class 4; expected"),
    "negative class": (faults.output(datatype="INT64", shape=[3], data=[0, -1, 1]), "answered class -1"),
    "class as a float": (faults.output(datatype="INT64", shape=[3], data=[0.5, 1, 1]), "not of that type"),
    "unknown name": (faults.output(datatype="BYTES", shape=[3], data=["a", "b", "fox"]), "answered 'fox'"),
    "unknown type": (faults.output(datatype="COMPLEX"), "whose data is not of that type"),
    "HTML": (faults.html, "answered with HTML, not JSON"),
    "a list": (lambda handler, answer: handler.reply([answer]) is None, "answered with a list, not an object"),
    "an error": (faults.changed(error="broken"), "answered with an error"),
    "the output twice": (faults.outputs(lambda own: [own, own]), "gave the outputs y, y; expected one output 'y'"),
    "no output": (faults.outputs(lambda _: []), "gave the outputs none"),
    "another output": (faults.outputs(lambda own: [{**own, "name": "z"}]), "gave the outputs z"),
    "another version": (faults.changed(model_version="2"), "answered as version '2', but was version '1'"),
    "another model": (faults.changed(model_name="z"), "answered as 'z'"),
    "400": (status(400), r"answered 400 Bad Request \(by script\)"),
    "401": (status(401), r"check the token and teacher\.http\.token"),
    "404": (status(404), r"check teacher\.http\.url"),
    "a redirection": (status(307, Location="http://127.0.0.1:9/"), "answered 307"),
    "a long wait": (status(429, Retry_After="3600"), "asks to wait 3,600 s"),
}  # fmt: skip


@pytest.mark.parametrize(("fault", "message"), PERMANENT.values(), ids=list(PERMANENT))
def test_what_cannot_be_right_stops_at_once(fault: faults.Fault, message: str) -> None:
    with hostile(Hostile(always=fault)) as server:
        sent: list[int] = []
        with pytest.raises(TeacherError, match=message) as raised:
            teacher_of(server, Link(concurrency=1, timeout=5.0), sent, labels=("a", "b", "c", "d")).decide(IMAGES)
    assert "\n" not in str(raised.value)
    assert sent == server.images == [3]


def test_reordered_outputs_are_told_apart_by_name() -> None:
    reordered = faults.outputs(lambda own: [{**own, "name": "features", "data": [9.0] * 12}, own])
    with hostile(Hostile(always=reordered)) as server:
        assert torch.equal(teacher_of(server).decide(IMAGES[:3]), RIGHT[:3])


def test_answers_that_overtake_each_other_are_put_back_in_order() -> None:
    def late(handler: faults.Handler, _: faults.Json) -> bool:
        while len(handler.state.answered) < 2:
            time.sleep(0.01)
        return False

    with hostile(Hostile(script=[late])) as server:
        assert torch.equal(teacher_of(server, Link(concurrency=3, timeout=20.0)).decide(IMAGES), RIGHT)


def test_a_refused_connection_recovers_when_the_server_comes() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    sent: list[int] = []
    link = Link(concurrency=1, timeout=1.0, attempts=2, outage=0.2)
    teacher = HttpTeacher(url, "m", FOUR, Interface("x", "FP32", "y", None), link=link, sending=sent.append)
    with pytest.raises(TeacherError, match=r"gave no answer for 0\.2 s; the last time the exchange broke"):
        teacher.decide(IMAGES)
    assert sent == []  # the metadata is read first
    state = Hostile()
    server = faults._Server(("127.0.0.1", port), type("Bound", (faults.Handler,), {"state": state}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        assert torch.equal(teacher.decide(IMAGES), RIGHT)
    finally:
        server.shutdown()
        server.server_close()
    state.always = faults.hang_up  # for the connections that are still open
    with pytest.raises(TeacherError, match=r"gave no answer for 0\.2 s"):
        teacher.decide(IMAGES)
    assert sent[:4] == [3, 3, 2, 3]  # answered; then one request, which the server dropped as it went
    assert sum(sent[4:]) == 0  # no server saw the attempts after it


def test_retry_after_is_honoured_by_all_requests() -> None:
    with hostile(Hostile(script=[status(429, Retry_After="1")])) as server:
        sent: list[int] = []
        assert torch.equal(teacher_of(server, Link(concurrency=1, timeout=5.0), sent).decide(IMAGES), RIGHT)
    assert sum(sent) == len(IMAGES) + 3
    assert server.begun[1] - server.begun[0] >= 1.0


def test_the_limits_are_kept_by_all_teachers_of_a_server() -> None:
    link = Link(concurrency=2, per_second=10.0, timeout=20.0)
    with hostile() as server:
        teachers = [teacher_of(server, link) for _ in range(2)]
        threads = [threading.Thread(target=teacher.decide, args=(IMAGES,)) for teacher in teachers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.begun) == 6
    assert server.maximum <= 2
    assert server.begun[-1] - server.begun[0] >= 0.25  # six of them, ten a second: 0.5, less what the first came late


def test_a_forbidden_sending_sends_nothing_and_passes_through() -> None:
    class SpentError(Exception):
        pass

    spent, left = SpentError("no more"), [3]

    def sending(count: int) -> None:
        left[0] -= count
        if left[0] < 0:
            raise spent

    with hostile() as server:
        interface = Interface("x", "FP32", "y", None)
        teacher = HttpTeacher(server.url, "m", FOUR, interface, link=Link(concurrency=1), sending=sending)
        with pytest.raises(SpentError) as raised:
            teacher.decide(IMAGES)
        assert raised.value is spent
        assert server.images == [3]


def test_what_was_answered_before_a_failure_is_told() -> None:
    told: list[tuple[int, list[int]]] = []

    def answered(place: int, decisions: Tensor) -> None:
        told.append((place, decisions.tolist()))

    with hostile(Hostile(script=[lambda *_: False, status(404)])) as server, pytest.raises(TeacherError, match="404"):
        teacher_of(server, Link(concurrency=1), answered=answered).decide(IMAGES)
    assert told == [(0, RIGHT[:3].tolist())]


def test_what_was_answered_before_a_failure_is_not_sent_again(tmp_path: Path) -> None:
    store, account = AnswerStore(SqliteDatabase(tmp_path / "answers")), Account("abc", 4)
    with hostile(Hostile(script=[lambda *_: False, status(404)])) as server:
        for failing in (True, False):
            costs, interface = Costs(), Interface("x", "FP32", "y", None)

            def sending(count: int) -> None:
                answers.sending(count)  # noqa: B023 - of this round

            def answered(place: int, decisions: Tensor) -> None:
                answers.answered(place, decisions)  # noqa: B023 - of this round

            link = Link(concurrency=1)
            inner = HttpTeacher(server.url, "m", FOUR, interface, link=link, sending=sending, answered=answered)
            answers = Answers(inner, store, account, costs)
            if failing:
                with pytest.raises(TeacherError, match="404"):
                    Votes(answers, 1, costs).decide(IMAGES)
            else:
                assert torch.equal(Votes(answers, 1, costs).decide(IMAGES), RIGHT)
    assert server.images == [3, 3, 3, 2]  # answered, refused; then what was missing
    assert (costs.known, costs.votes, costs.before, costs.sent, costs.answered) == (3, 8, 6, 5, 5)
    assert store.balance(account) == (11, 8)
    store.close()


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_refused_connection_is_not_sent() -> None:
    costs = Costs(limit=3)
    link, interface = Link(concurrency=1, timeout=5.0, outage=0.5), Interface("x", "FP32", "y", None)
    url = f"http://127.0.0.1:{_closed_port()}"
    teacher = HttpTeacher(url, "m", FOUR, interface, link=link, sending=costs.send)
    teacher._met = True  # the metadata were read while there was a server
    with pytest.raises(TeacherError, match=r"gave no answer for 0\.5 s"):
        teacher.decide(IMAGES[:3])
    assert costs.sent == 0


def test_a_connection_that_never_comes_about_is_not_sent() -> None:
    """A listener whose queue is full drops whoever knocks: nothing is refused, and nothing arrives."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        costs = Costs()
        link = Link(concurrency=1, timeout=0.3, attempts=1, outage=0.1)
        url, interface = f"http://127.0.0.1:{address[1]}", Interface("x", "FP32", "y", None)
        teacher = HttpTeacher(url, "m", FOUR, interface, link=link, sending=costs.send)
        teacher._met = True
        with pytest.raises(TeacherError, match="it had not accepted a connection after"):
            teacher.decide(IMAGES[:3])
        for filler in fillers:
            filler.close()
    assert costs.sent == 0


def test_what_was_refused_is_not_booked_in_the_store_of_answers(tmp_path: Path) -> None:
    store, account, costs = AnswerStore(SqliteDatabase(tmp_path / "answers")), Account("abc", 4), Costs()
    link, interface = Link(concurrency=2, timeout=5.0, outage=0.5), Interface("x", "FP32", "y", None)
    url = f"http://127.0.0.1:{_closed_port()}"

    def sending(count: int) -> None:
        answers.sending(count)

    teacher = HttpTeacher(url, "m", FOUR, interface, link=link, sending=sending)
    teacher._met = True
    answers = Answers(teacher, store, account, costs)
    with pytest.raises(TeacherError, match="gave no answer"):
        Votes(answers, 1, costs).decide(IMAGES)
    assert (costs.sent, store.balance(account)) == (0, (0, 0))
    store.close()


def test_a_restart_of_the_server_is_waited_out() -> None:
    """Longer than the attempts alone would last: one of them, and the server is away for a second and a half."""
    port = _closed_port()
    link, sent = Link(concurrency=1, timeout=5.0, attempts=1, outage=20.0), list[int]()
    url, interface = f"http://127.0.0.1:{port}", Interface("x", "FP32", "y", None)
    teacher = HttpTeacher(url, "m", FOUR, interface, link=link, sending=sent.append)
    state = Hostile(script=[status(503), status(502)])  # then it is there, but not ready

    def start() -> None:
        server = faults._Server(("127.0.0.1", port), type("Bound", (faults.Handler,), {"state": state}))
        servers.append(server)
        server.serve_forever(poll_interval=0.02)

    servers: list[Any] = []
    timer = threading.Timer(1.5, start)
    timer.start()
    try:
        assert torch.equal(teacher.decide(IMAGES), RIGHT)
    finally:
        servers[0].shutdown()
        servers[0].server_close()
    assert sum(sent) == sum(state.images) == len(IMAGES) + 6


@pytest.mark.parametrize("encoding", ["auto", "json", "binary"])
def test_binary_tensors_where_the_server_offers_them(encoding: str) -> None:
    with hostile(Hostile(extensions=["binary_tensor_data"])) as server:
        teacher = teacher_of(server, Link(encoding=encoding, compress=encoding == "binary"))
        assert torch.equal(teacher.decide(IMAGES), RIGHT)
    posts = [headers for headers in server.seen if "Content-Length" in headers]
    assert all(("Inference-Header-Content-Length" in headers) == (encoding != "json") for headers in posts)


def test_no_binary_tensors_where_the_server_says_nothing_of_them() -> None:
    with hostile() as server:
        teacher_of(server).decide(IMAGES)
    assert not any("Inference-Header-Content-Length" in headers for headers in server.seen)


def test_a_fixed_number_of_rows_is_filled_up_and_counted_as_sent() -> None:
    with hostile() as server:
        sent: list[int] = []
        interface = Interface("x", "FP32", "y", 5)
        teacher = HttpTeacher(server.url, "m", FOUR, interface, link=QUICK, sending=sent.append)
        assert torch.equal(teacher.decide(IMAGES), RIGHT)
    assert sorted(server.images) == [5, 5]
    assert sent == [5, 5]


def fetched_from(server: Hostile, **more: Any) -> Any:
    description = ModelDescription(
        "http", FOUR.input_shape, 4, tuple("abcd"), 3, http={"url": server.url, "model": "m"}, **more
    )
    return fetch_http(description, Path(), QUICK)


def test_a_model_that_changed_since_it_was_fetched_is_never_asked() -> None:
    with hostile() as server:
        fetched = fetched_from(server)
        assert fetched.model["version"] == "1"
        server.metadata = {**server.metadata, "versions": ["2"]}
        model = {**fetched.model, "preprocessing": {}, "labels": []}
        with pytest.raises(TeacherError, match="describes itself otherwise than when it was fetched"):
            open_http(StoredModel({"model": model, "access": fetched.access}, Path(), FOUR, link=QUICK)).decide(IMAGES)
        assert server.images == []


@pytest.mark.parametrize("teachers", [1, 2])
def test_a_version_that_changes_between_two_answers_stops_the_run(teachers: int) -> None:
    """Also where each thread has a teacher of its own."""
    with hostile(Hostile(script=[lambda *_: False, faults.changed(model_version="2")])) as server:
        interface = Interface("x", "FP32", "y", None)
        made = [HttpTeacher(server.url, "m", FOUR, interface, link=Link(concurrency=1)) for _ in range(teachers)]
        made[0].decide(IMAGES[:3])
        with pytest.raises(TeacherError, match="answered as version '2', but was version '1'"):
            made[-1].decide(IMAGES)


@pytest.mark.parametrize(
    ("metadata", "more", "message"),
    [
        ({"versions": ["1", "2"]}, {}, r"has the versions 1, 2; expected one: set teacher\.version"),
        ({"inputs": []}, {}, r"does not say how its input is called; expected a name: set teacher\.input"),
        ({"inputs": faults.METADATA["inputs"] * 2}, {}, r"has 2 inputs; expected one of x, x"),
        ({}, {"output": "z"}, r"has no output 'z'; expected one of y: set teacher\.output"),
        ({"inputs": [{"name": "x", "datatype": "UINT8", "shape": [-1, 1, 1, 4]}]}, {}, r"set teacher\.dtype=uint8"),
        ({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [-1]}]}, {}, "takes BYTES"),
    ],
)
def test_metadata_that_does_not_fit_is_one_line(metadata: faults.Json, more: dict[str, Any], message: str) -> None:
    with hostile(Hostile(metadata={**faults.METADATA, **metadata})) as server:
        with pytest.raises(ConfigError, match=message):
            fetched_from(server, **more)
        assert server.images == []


SECRET = "s3cr3t-T0KEN"  # noqa: S105


@pytest.mark.parametrize(("header", "scheme"), [("Authorization", "Bearer"), ("X-Api-Key", "")])
def test_the_token_is_sent_and_told_nowhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, header: str, scheme: str
) -> None:
    def echo(handler: faults.Handler, _: faults.Json) -> bool:
        handler.reply({"error": f"the token {SECRET} is not welcome"}, 403)
        return True

    monkeypatch.setenv("OWN_TOKEN", SECRET)
    caplog.set_level(logging.DEBUG)
    with hostile(Hostile(always=echo)) as server:
        http = {"url": server.url, "model": "m", "token": "OWN_TOKEN", "header": header, "scheme": scheme}
        fetched = fetch_http(ModelDescription("http", FOUR.input_shape, 4, tuple("abcd"), 3, http=http), Path(), QUICK)
        assert SECRET not in repr(fetched)
        model = {**fetched.model, "preprocessing": {}, "labels": []}
        with pytest.raises(TeacherError, match=r"answered 403 Forbidden \(the token \*\*\* is not welcome\)"):
            open_http(StoredModel({"model": model, "access": fetched.access}, Path(), FOUR, link=QUICK)).decide(IMAGES)
    assert all(headers[header] == f"{scheme} {SECRET}".strip() for headers in server.seen)
    assert SECRET not in caplog.text


def test_a_token_that_the_server_echoes_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN_TOKEN", SECRET)
    metadata = {**faults.METADATA, "platform": f"for {SECRET}", "versions": [SECRET], SECRET: {"deep": [SECRET]}}
    with hostile(Hostile(metadata=metadata)) as server:
        http = {"url": server.url, "model": "m", "token": "OWN_TOKEN"}
        fetched = fetch_http(ModelDescription("http", FOUR.input_shape, 4, tuple("abcd"), 3, http=http), Path(), QUICK)
    assert SECRET not in repr(fetched)


@pytest.mark.parametrize("value", [None, "", "  ", "two\nlines", "schlüssel"])
def test_a_token_that_no_header_can_hold_is_one_line(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("OWN_TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("OWN_TOKEN", value)
    with pytest.raises(ConfigError, match="the environment variable OWN_TOKEN holds no token") as raised:
        Auth("OWN_TOKEN").secret()
    assert "\n" not in str(raised.value)
    assert not value or not value.strip() or value not in str(raised.value)


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.delenv("no_proxy", raising=False)
        spec, interface = FOUR, Interface("x", "FP32", "y", None)
        teacher = HttpTeacher("http://models.invalid", "m", spec, interface, link=QUICK)
        assert torch.equal(teacher.decide(IMAGES), RIGHT)
    assert {headers["Host"] for headers in proxy.seen} == {"models.invalid"}


@pytest.mark.parametrize("trusted", [False, True])
def test_a_certificate_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, *made], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with hostile(tls=tls) as server:
        sent: list[int] = []
        teacher = teacher_of(server, Link(concurrency=2, timeout=5.0, attempts=2), sent)
        if trusted:
            assert torch.equal(teacher.decide(IMAGES), RIGHT)
            return
        with pytest.raises(TeacherError, match="TLS certificate that is not trusted") as raised:
            teacher.decide(IMAGES)
        assert "\n" not in str(raised.value)
        assert sent == server.images == []


def test_pixels_are_not_changed_on_the_way() -> None:
    """float32 pixels survive JSON to the last bit: the nearest and the farthest pairs of neighbours are told apart."""
    values = torch.linspace(0, 1, 256).repeat(2)
    values[256:] = torch.nextafter(values[256:], torch.tensor(2.0)).clamp(0, 1)
    images: Tensor = values.view(2, *SHAPE)
    with hostile() as server:
        spec = TeacherSpec(SHAPE, (0.0, 1.0), 256, 2, "pixels as scores")
        teacher = HttpTeacher(server.url, "m", spec, Interface("x", "FP32", "y", None), link=QUICK)
        teacher.decide(images)
    told = [value for answer in server.answered for value in answer["outputs"][0]["data"]]
    assert torch.equal(torch.tensor(told, dtype=torch.float32), images.flatten())


def test_an_unknown_encoding_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"Link\.encoding is 'binry'; expected .*; did you mean binary\?"):
        Link(encoding="binry")
