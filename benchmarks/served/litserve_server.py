"""A LitServe server of an ONNX file: `python litserve_server.py MODEL.onnx PORT`."""

import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's own
        self.session = onnxruntime.InferenceSession(sys.argv[1])

    def decode_request(self, request: dict[str, Any]) -> Any:
        return np.array(request["input"], np.float32)

    def predict(self, image: Any) -> Any:
        return self.session.run(None, {"images": image[None]})[0][0]

    def encode_response(self, scores: Any) -> Any:
        return {"output": scores.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Classifier(), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False)
