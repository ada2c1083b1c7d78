"""The model card that lies beside an exported student."""

from collections.abc import Mapping
from typing import Any

_NAMES_SHOWN = 20

_CARD = """\
# {architecture}: a student distilled from decisions

An image classifier of {parameters:,} parameters, trained by db3 on the answers of a teacher that gave nothing but
its decision: the top-1 class of each image it was asked about. No score, gradient or weight of the teacher was used.

| | |
|---|---|
| architecture | `{architecture}` |
| input | float32 `[n, {channels}, {height}, {width}]`, pixels in [0, 1]; normalisation is part of the network |
| output | logits `[n, {classes}]`; the decision is the largest |
| parameters | {parameters:,} ({bytes:,} bytes as safetensors) |
| multiply-adds per image | {multiply_adds:,} |
| teacher (identity) | `{teacher}` |
| transfer set (digest) | `{transfer}` |
| ONNX | {parity} |{int8}

{names}

## Accuracy

{measured}

## Training

| parameter | value |
|---|---|
{training}

## Use

Both snippets run in this folder.

```python
from pathlib import Path

import torch

from db3.networks import build
from db3.networks.weights import load_weights

network = build("{architecture}", ({channels}, {height}, {width}), {classes})
load_weights(network, Path("student.safetensors"))
images = torch.rand(1, {channels}, {height}, {width})  # yours: float32 in [0, 1]
with torch.inference_mode():
    decisions = network.eval()(images).argmax(dim=1)
```
{onnx_use}
## Intended use

Distil only models that you may query and copy in this way, with images that you may use: the terms of the teacher's
owner and of the data's licence hold for the student too. The student knows the classes above and answers one of them
to any image whatever; like its teacher's, its mistakes should be measured on your own data before anything depends
on it.
"""

_ONNX_USE = """
```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("student.onnx", providers=["CPUExecutionProvider"])
images = np.random.default_rng().random((1, {channels}, {height}, {width}), dtype=np.float32)  # yours: in [0, 1]
(logits,) = session.run(["logits"], {{"images": images}})
decisions = logits.argmax(axis=1)
```
"""


_MEASURED_LATER = """\
Measured after this card was written: see `data/evaluation/metrics.json` (accuracy on the test split, and agreement
with the teacher, as mean and standard deviation over several students; the files here are the first of them)."""


def model_card(student: Mapping[str, Any], training: Mapping[str, Any], measured: str | None = None) -> str:
    """The card in Markdown: a function of its arguments alone.

    Args:
        student: the content of student.json (`architecture`, `input_shape`, `classes`, `class_names`, `parameters`,
            `bytes`, `multiply_adds`, `transfer`, `teacher`, and `onnx` and `int8`, absent or None without such a file).
        training: parameters to show, name → plain value, in this order.
        measured: what was measured, in a sentence; None: the pipeline will, after this card.
    """
    channels, height, width = student["input_shape"]
    shape = {"channels": channels, "height": height, "width": width}
    onnx = student.get("onnx")
    return _CARD.format(
        **{name: student[name] for name in ("architecture", "classes", "parameters", "bytes", "multiply_adds")},
        **shape,
        teacher=student["teacher"],
        transfer=student["transfer"],
        measured=measured or _MEASURED_LATER,
        names=_class_names(student["class_names"]),
        training="\n".join(f"| {_cell(name)} | {_cell(value)} |" for name, value in training.items()),
        parity=_parity(onnx),
        int8=_int8(student.get("int8")),
        onnx_use=_ONNX_USE.format(**shape) if onnx else "",
    )


def _class_names(names: list[str]) -> str:
    shown = ", ".join(f"{index}: {_cell(name)}" for index, name in enumerate(names[:_NAMES_SHOWN]))
    more = f", and {len(names) - _NAMES_SHOWN} more in `student.json`" if len(names) > _NAMES_SHOWN else ""
    return f"Classes: {shown}{more}."


def _parity(onnx: Mapping[str, Any] | None) -> str:
    if not onnx:
        return "not exported"
    return f"logits within {onnx['tolerance']:.0e} of the largest of PyTorch's on {onnx['checked']:,} samples"


def _int8(int8: Mapping[str, Any] | None) -> str:
    """A row of the table, or nothing."""
    if not int8:
        return ""
    sizes = f"{int8['bytes']:,} bytes against {int8['float32_bytes']:,}"
    alike = f"{int8['alike']:,} of {int8['checked']:,} samples decided as by the float32 file"
    more = f"; {int8['measured']}" if "measured" in int8 else ""
    return f"\n| int8 ONNX | `student.int8.onnx`: {sizes}; {alike}{more} |"


def _cell(value: object) -> str:
    """One line that no table or emphasis of Markdown breaks: names of classes come from users' folders."""
    text = " ".join(str(value).split())
    return f"`{text}`".replace("|", "\\|") if any(mark in text for mark in "|*_<>[]#") else text
