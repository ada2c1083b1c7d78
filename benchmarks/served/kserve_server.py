"""A KServe model server of an ONNX file, v1 and v2: `python kserve_server.py MODEL.onnx PORT GRPC_PORT`."""

import sys
from typing import Any

import kserve
import numpy as np
import onnxruntime
from kserve import InferOutput, InferResponse


class Classifier(kserve.Model):
    def __init__(self) -> None:
        super().__init__("lenet")
        self.session = onnxruntime.InferenceSession(sys.argv[1])
        self.ready = True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:  # noqa: ARG002 - KServe's own
        first = isinstance(payload, dict)  # v1
        images = payload["instances"] if first else payload.inputs[0].as_numpy()
        scores = self.session.run(None, {"images": np.array(images, np.float32)})[0]
        if first:
            return {"predictions": scores.tolist()}
        output = InferOutput("logits", list(scores.shape), "FP32")
        output.set_data_from_numpy(scores, binary_data=False)
        return InferResponse(payload.id, self.name, [output])


if __name__ == "__main__":
    server = kserve.ModelServer(http_port=int(sys.argv[2]), grpc_port=int(sys.argv[3]), workers=1)
    server.start([Classifier()])
