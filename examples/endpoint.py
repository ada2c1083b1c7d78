"""An endpoint that takes a picture and tells a label: a student of it. The endpoint here runs on this machine.

python examples/endpoint.py             (needs the extra `http`: pip install 'db3[http]')
"""

import base64
import io
import json
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

import db3

SHAPE, LABELS = (1, 16, 16), ["top left", "top right", "bottom left", "bottom right"]


class Endpoint(BaseHTTPRequestHandler):
    """Stand in for the vendor's: POST {"image": a PNG in base64}, and {"label": …} comes back."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        picture = Image.open(io.BytesIO(base64.b64decode(body["image"])))
        quarters = np.asarray(picture.convert("L")).reshape(2, 8, 2, 8).mean(axis=(1, 3))
        answer = json.dumps({"label": LABELS[int(quarters.argmax())]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # A token would come from an environment variable, whose name goes here: http={…, "token": "VENDOR_TOKEN"}.
    teacher = db3.teacher(
        f"http://127.0.0.1:{server.server_port}/classify",
        shape=SHAPE,
        labels=LABELS,
        http={"answer": "label", "body": "json", "field": "image"},
        quantise="uint8",
        name="2026-11",  # what the vendor calls the model's state; another one is another teacher
    )
    images = db3.prior_images(SHAPE, range(200), seed=2)
    quick = {"distill.steps": 500, "samples.rounds.count": 3, "samples.rounds.steps": 50}
    with tempfile.TemporaryDirectory() as folder:
        result = db3.distill(teacher, images, queries=1_000, student="lenet5_fifth", folder=folder, settings=quick)
    print(f"{result.queries.sent:,} pictures sent")
    print(f"{result.queries.asked:,} queries asked; the student agrees with the teacher on {result.agreement:.1%}")
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    main()
