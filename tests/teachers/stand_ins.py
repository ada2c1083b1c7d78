"""Servers of published protocols on 127.0.0.1, each answering from a real small network.

Sources: OpenAI's API reference, chat completions and structured outputs (platform.openai.com/docs/api-reference/chat);
`predict` of Vertex AI and TensorFlow Serving (tensorflow.org/tfx/serving/api_rest); MLflow's `/invocations`
(mlflow.org/docs/latest/ml/deployment/deploy-model-locally); Hugging Face's task `image-classification`.
"""

import base64
import gzip
import hashlib
import hmac
import io
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
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
        if refusal := self.allowed(body):
            fault = (403, {}, {"message": refusal})
        status, headers, answer = fault or (200, {}, self.answer(body))
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def allowed(self, body: bytes) -> str:  # noqa: ARG002
        """Nothing, or why a request is refused."""
        return ""

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
        request = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        rows = request.get("instances") or request["inputs"]
        if isinstance(rows[0], dict):
            images = torch.cat([picture(base64.b64decode(row["b64"])) for row in rows])
        else:
            images = torch.tensor(rows, dtype=torch.float32)
        return {"predictions": scores_of(images).tolist()}


class SageMaker(Predict):
    """SageMaker's runtime: `Predict` behind a signature that is computed here as AWS describes it, without its code."""

    keys: dict[str, str]  # access key id to secret
    session: str | None = None
    region = "eu-central-1"

    def allowed(self, body: bytes) -> str:
        """Nothing, or what AWS says of a request whose signature does not hold."""
        found = _AUTHORIZATION.fullmatch(self.headers["Authorization"] or "")
        if not found:
            return "Missing Authentication Token"
        key, day, region, signed, signature = found.groups()
        moment = self.headers["X-Amz-Date"]
        sent = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if abs((datetime.now(UTC) - sent).total_seconds()) > 300 or not moment.startswith(day):
            return "Signature expired"
        session = self.headers["X-Amz-Security-Token"]
        if region != self.region or key not in self.keys or session != self.session:
            return "The security token included in the request is invalid."
        names = signed.split(";")
        assert {"host", "x-amz-date"} <= set(names)
        told = {name: self.headers[name] for name in names}
        right = aws_signature(self.keys[key], region, "sagemaker", str(self.command), self.path, told, body)
        return "" if right == signature else f"The signature we calculated does not match; you sent {session}"


_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(\w+)/(\d{8})/([\w-]+)/sagemaker/aws4_request, SignedHeaders=([\w;-]+), "
    r"Signature=([0-9a-f]{64})"
)


def aws_signature(
    secret: str, region: str, service: str, method: str, path: str, headers: dict[str, str], body: bytes
) -> str:
    """The signature of version 4, step by step as
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html has it (no query).
    """

    def keyed(key: bytes, text: str) -> bytes:
        return hmac.new(key, text.encode(), hashlib.sha256).digest()

    lines = "".join(f"{name}:{' '.join(value.split())}\n" for name, value in sorted(headers.items()))
    names, content = ";".join(sorted(headers)), hashlib.sha256(body).hexdigest()
    canonical = "\n".join([method, path, "", lines, names, content])
    moment = headers["x-amz-date"]
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (moment[:8], region, service, "aws4_request"):
        key = keyed(key, part)
    return keyed(key, to_sign).hex()


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
