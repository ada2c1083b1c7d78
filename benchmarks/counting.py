"""A model server that counts: Open Inference Protocol, a small fixed network, and the tally of what arrived.

    python -m benchmarks.counting --port 8123 --seconds 0.002

It prints its port when it is ready. `GET /count` tells `images` (all that arrived), `distinct`, and `twice` (images
that arrived more than once, beyond the first time).
"""

import argparse
import hashlib
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

_HEADER = "Inference-Header-Content-Length"


class Model:
    """Ten classes of 28 × 28 pixels: one hidden layer of weights that a seed draws; and its tally."""

    def __init__(self, seconds: float = 0.0) -> None:
        draw = np.random.default_rng(7)
        self._first = draw.normal(size=(784, 32)).astype(np.float32)
        self._second = draw.normal(size=(32, 10)).astype(np.float32)
        self._guard, self._seconds = threading.Lock(), seconds
        self.arrived: Counter[bytes] = Counter()

    def decide(self, images: Any) -> Any:
        flat = images.reshape(len(images), 784)
        with self._guard:
            self.arrived.update(hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in flat)
        time.sleep(self._seconds)
        hidden = np.tanh(
            (flat[:, None, :] * self._first.T).sum(axis=2) / 8
        )  # row by row: no answer knows its neighbours
        return (hidden @ self._second).argmax(axis=1)

    def count(self) -> dict[str, int]:
        with self._guard:
            images = sum(self.arrived.values())
            return {"images": images, "distinct": len(self.arrived), "twice": images - len(self.arrived)}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    model: Model

    def do_GET(self) -> None:
        known: dict[str, Any] = {
            "/v2": {"name": "counting", "extensions": ["binary_tensor_data"]},
            "/v2/models/m": {
                "name": "m",
                "versions": ["1"],
                "platform": "numpy",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1, 28, 28]}],
                "outputs": [{"name": "y", "datatype": "INT64", "shape": [-1]}],
            },
        }
        self._reply(
            self.model.count() if self.path == "/count" else known.get(self.path.partition("/versions/")[0], {})
        )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = int(self.headers.get(_HEADER, len(body)))
        request = json.loads(body[:head])
        tensor = request["inputs"][0]
        if head < len(body):
            images = np.frombuffer(body[head:], "<f4").reshape(tensor["shape"])
        else:
            images = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        answers = [int(answer) for answer in self.model.decide(images)]
        output = {"name": "y", "datatype": "INT64", "shape": [len(answers)], "data": answers}
        self._reply({"model_name": "m", "model_version": "1", "id": request.get("id"), "outputs": [output]})

    def _reply(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error of the server's."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.counting", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--seconds", type=float, default=0.0, help="that an answer takes at least")
    options = parser.parse_args()
    handler = type("Bound", (Handler,), {"model": Model(options.seconds)})
    with Server(("127.0.0.1", options.port), handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
