"""Servers of published protocols on 127.0.0.1, each answering from a real small network.

Sources: OpenAI's API reference, chat completions and structured outputs (platform.openai.com/docs/api-reference/chat);
`predict` of Vertex AI and TensorFlow Serving (tensorflow.org/tfx/serving/api_rest); MLflow's `/invocations`
(mlflow.org/docs/latest/ml/deployment/deploy-model-locally); Hugging Face's task `image-classification`.
"""

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tests.teachers.hostile import _Server
from tests.teachers.models import network


class StandIn(BaseHTTPRequestHandler):
    """One request after the other; `faults` are (status, headers, body) that answer in place of the next ones."""

    protocol_version = "HTTP/1.1"
    labels: list[str]
    model = "tiny-vision"
    token: str | None = None
    requests: list[Any]
    faults: list[tuple[int, dict[str, str], Any] | None]
    url: str
    guard: threading.Lock

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.guard:
            self.requests.append(body)
            fault = self.faults.pop(0) if self.faults else None
        if self.token and self.headers["Authorization"] != f"Bearer {self.token}":
            fault = (401, {}, {"error": {"message": "Incorrect API key provided"}})
        status, headers, answer = fault or (200, {}, self.answer(body))
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def answer(self, body: bytes) -> Any:
        raise NotImplementedError


_network = cache(network)


def scores_of(images: Tensor) -> Tensor:
    with torch.inference_mode():
        scores: Tensor = _network()(images)
        return scores


def picture(content: bytes) -> Tensor:
    """One image [1, 1, H, W] in [0, 1] of a grey PNG."""
    return torch.from_numpy(np.array(Image.open(io.BytesIO(content)))).float()[None, None] / 255


class OpenAi(StandIn):
    """Chat completions with one picture and one enum; refuses what the reference says a server refuses."""

    refuses: set[int]  # classes of which it says nothing

    def answer(self, body: bytes) -> Any:
        request = json.loads(body)
        text, image = request["messages"][0]["content"]
        schema = request["response_format"]["json_schema"]
        assert request["response_format"]["type"] == "json_schema"
        assert (schema["strict"], schema["schema"]["additionalProperties"]) == (True, False)
        assert (request["temperature"], request["seed"], text["type"]) == (0, 0, "text")
        head, _, data = image["image_url"]["url"].partition(",")
        assert (image["type"], head) == ("image_url", "data:image/png;base64")
        choices = schema["schema"]["properties"]["label"]["enum"]
        assert all(name in text["text"] for name in choices)
        place = int(scores_of(picture(base64.b64decode(data))).argmax())
        refused = place in self.refuses
        content = None if refused else json.dumps({"label": self.labels[place]})
        refusal = "I can't help with that." if refused else None
        message = {"role": "assistant", "content": content, "refusal": refusal}
        return {
            "id": f"chatcmpl-{len(self.requests)}",
            "object": "chat.completion",
            "created": 1,
            "model": self.model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100},
        }


class Predict(StandIn):
    """`{"instances": […]}` to `{"predictions": […]}`, row by row; MLflow's `{"inputs": […]}` likewise."""

    def answer(self, body: bytes) -> Any:
        request = json.loads(body)
        rows = request.get("instances") or request["inputs"]
        if isinstance(rows[0], dict):
            images = torch.cat([picture(base64.b64decode(row["b64"])) for row in rows])
        else:
            images = torch.tensor(rows, dtype=torch.float32)
        return {"predictions": scores_of(images).tolist()}


class HuggingFace(StandIn):
    """The raw picture to labels with scores, the best five first."""

    def answer(self, body: bytes) -> Any:
        shares = scores_of(picture(body))[0].softmax(0)
        return [{"label": self.labels[k], "score": float(shares[k])} for k in shares.argsort(descending=True)[:5]]


@contextmanager
def standing_in(kind: type[StandIn], path: str, labels: list[str], **more: Any) -> Iterator[Any]:
    """The server's class, whose attributes tell and say what it does; `url` is its address."""
    own = {"labels": labels, "requests": [], "faults": [], "guard": threading.Lock(), "refuses": set(), **more}
    handler: Any = type("Bound", (kind,), own)
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    handler.url = f"http://127.0.0.1:{server.server_address[1]}{path}"
    try:
        yield handler
    finally:
        server.shutdown()
        server.server_close()
