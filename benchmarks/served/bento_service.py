"""A BentoML service of the ONNX file that DB3_MODEL names: `bentoml serve bento_service:Classifier`."""

import os

import bentoml
import numpy as np
import onnxruntime
from PIL.Image import Image


@bentoml.service
class Classifier:
    def __init__(self) -> None:
        self.session = onnxruntime.InferenceSession(os.environ["DB3_MODEL"])

    @bentoml.api
    def classify(self, image: Image) -> int:
        pixels = np.asarray(image, np.float32) / np.float32(255)
        pixels = pixels[None, None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)[None]
        return int(self.session.run(None, {"images": pixels})[0][0].argmax())
