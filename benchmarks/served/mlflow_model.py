"""Saves an ONNX file as an MLflow model: `python mlflow_model.py MODEL.onnx FOLDER`."""

import sys

import mlflow.onnx
import numpy as np
import onnx
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

model = onnx.load(sys.argv[1])
sizes = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]]
inputs = Schema([TensorSpec(np.dtype(np.float32), (-1, *sizes))])
mlflow.onnx.save_model(model, sys.argv[2], signature=ModelSignature(inputs))
