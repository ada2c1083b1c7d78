"""A server for faults only: each POST is answered by the next fault of a script, then as it should be.

Its right answer to an image is the place of its brightest pixel.
"""

import gzip
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

Json = dict[str, Any]
Fault = Callable[["Handler", Json], bool]
METADATA: Json = {
    "name": "m",
    "versions": ["1"],
    "platform": "test",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1, 1, 4]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
}


@dataclass
class Hostile:
    """What the server will do, and what it saw.

    Attributes:
        script: faults of the next POSTs, in the order of their arrival.
        always: the fault of every POST once the script is used up.
        metadata: of the model.
        extensions: of the server.
        images: images in the POSTs that arrived, one entry each.
        seen: headers of every request.
        most: the largest number of POSTs in flight at once.
        begun: when each POST arrived.
    """

    script: list[Fault] = field(default_factory=list)
    always: Fault | None = None
    metadata: Json = field(default_factory=lambda: dict(METADATA))
    extensions: list[str] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)
    answered: list[Json] = field(default_factory=list)
    maximum: int = 0
    begun: list[float] = field(default_factory=list)
    url: str = ""
    flying: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_fault(self) -> Fault | None:
        with self.lock:
            return self.script.pop(0) if self.script else self.always


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Hostile

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.state.seen.append(dict(self.headers))
        if self.path == "/v2":
            self.reply({"name": "hostile", "version": "0", "extensions": self.state.extensions})
        else:
            self.reply(self.state.metadata)

    def do_POST(self) -> None:
        state = self.state
        with state.lock:
            state.flying += 1
            state.maximum = max(state.maximum, state.flying)
            state.begun.append(time.monotonic())
        try:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.seen.append(dict(self.headers))
            answer, binary = _right_answer(body, dict(self.headers))
            with state.lock:
                state.images.append(answer["outputs"][0]["shape"][0])
            fault = state.next_fault()
            if fault is None or not fault(self, answer):
                state.answered.append(answer)
                self.reply(answer, binary=binary)
        finally:
            with state.lock:
                state.flying -= 1

    def reply(self, value: Any, status: int = 200, binary: bool = False, **headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        if binary:
            raw = np.array(value["outputs"][0].pop("data"), "<f4").tobytes()
            value["outputs"][0]["parameters"] = {"binary_data_size": len(raw)}
            head = json.dumps(value).encode()
            body, headers = head + raw, {**headers, "Inference-Header-Content-Length": str(len(head))}
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def cut(self, reset: bool = False) -> None:
        """End the connection; `reset`: with a TCP reset."""
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()


def _right_answer(body: bytes, headers: dict[str, str]) -> tuple[Json, bool]:
    if headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    length = headers.get("Inference-Header-Content-Length")
    request = json.loads(body[: int(length)] if length else body)
    given = request["inputs"][0]
    data = np.frombuffer(body[int(length) :], "<f4") if length else np.array(given["data"], np.float32)
    scores = data.reshape(given["shape"]).reshape(given["shape"][0], -1)
    output = {"name": "y", "datatype": "FP32", "shape": list(scores.shape), "data": scores.reshape(-1).tolist()}
    answer = {"id": request["id"], "model_name": "m", "model_version": "1", "outputs": [output]}
    return answer, length is not None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that went away is what several tests are about."""


@contextmanager
def hostile(state: Hostile | None = None, tls: ssl.SSLContext | None = None) -> Iterator[Hostile]:
    state = state or Hostile()
    server = _Server(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    state.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def status(code: int, **headers: str) -> Fault:
    def fault(handler: Handler, _: Json) -> bool:
        handler.reply({"error": "by script"}, code, **headers)
        return True

    return fault


def reset_in_mid_answer(handler: Handler, answer: Json) -> bool:
    body = json.dumps(answer).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.cut(reset=True)
    return True


def hang_up(handler: Handler, _: Json) -> bool:
    handler.cut()
    return True


def hang(handler: Handler, _: Json) -> bool:
    time.sleep(2.5)
    handler.cut()
    return True


def slow_drip(handler: Handler, answer: Json) -> bool:
    """A byte every 20 ms: each read is quick, the answer is not."""
    body = json.dumps(answer).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    for place in range(100):
        handler.wfile.write(body[place : place + 1])
        handler.wfile.flush()
        time.sleep(0.02)
    handler.cut()
    return True


def truncated_json(handler: Handler, answer: Json) -> bool:
    handler.reply(json.dumps(answer).encode()[:-7])
    return True


def damaged_gzip(handler: Handler, answer: Json) -> bool:
    handler.reply(gzip.compress(json.dumps(answer).encode())[:-30], Content_Encoding="gzip")
    return True


def html(handler: Handler, _: Json) -> bool:
    handler.reply(b"<!doctype html><title>Sign in</title>", Content_Type="text/html")
    return True


def of_another_request(handler: Handler, answer: Json) -> bool:
    """Somebody else's answer, such as one given twice or out of order."""
    earlier = handler.state.answered
    handler.reply(earlier[0] if earlier else {**answer, "id": "nobody's"})
    return True


def changed(**values: Any) -> Fault:
    """The right answer with some of its entries replaced."""

    def fault(handler: Handler, answer: Json) -> bool:
        handler.reply({**answer, **values})
        return True

    return fault


def output(**values: Any) -> Fault:
    """The right answer with some entries of its output replaced."""

    def fault(handler: Handler, answer: Json) -> bool:
        handler.reply({**answer, "outputs": [{**answer["outputs"][0], **values}]})
        return True

    return fault


def outputs(make: Callable[[Json], Sequence[Json]]) -> Fault:
    def fault(handler: Handler, answer: Json) -> bool:
        handler.reply({**answer, "outputs": list(make(answer["outputs"][0]))})
        return True

    return fault
