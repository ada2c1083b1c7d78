"""An ONNX file as a program: `python program.py MODEL.onnx` reads a PNG in base64 a line, prints a class a line."""

import base64
import io
import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1])
for line in sys.stdin:
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(line))), np.float32) / np.float32(255)
    pixels = pixels[None, None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)[None]
    scores = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    print(int(scores[0].argmax()), flush=True)
