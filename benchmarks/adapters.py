"""Do the same weights decide alike as a checkpoint, a .pt2, a TorchScript, an ONNX file and behind HTTP?

`python -m benchmarks.adapters --teacher DIR --dataset mnist [--json FILE]`

Each is fetched and opened as the pipeline does and decides the whole test split. A decision that differs from the
checkpoint's is shown with the gap between the two largest logits there: a tie, up to float noise, or not.
"""

import argparse
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.serving import served
from db3.datasets import open_dataset
from db3.files import read_json, write_json
from db3.students.export import export_onnx
from db3.students.teacher_logits import teacher_logits
from db3.teachers.adapters.catalogue import fetch_foreign
from db3.teachers.adapters.foreign_model import ModelDescription
from db3.teachers.adapters.http_settings import Link
from db3.teachers.decide import decide_all
from db3.teachers.folder import CARD, digest_weights, identity, open_network, open_teacher


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adapters", description=__doc__)
    parser.add_argument("--teacher", type=Path, required=True, help="folder with teacher.json and its weights")
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ["NO_PROXY"] = "127.0.0.1"
    images = open_dataset(options.dataset).test().images
    network = open_network(options.teacher)
    logits = np.sort(teacher_logits(network, images), axis=1)
    gaps = logits[:, -1] - logits[:, -2]
    decided, rows = {}, []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for name, opened in forms(options.teacher, network, Path(folder), stack):
            begun = time.perf_counter()
            decided[name] = decide_all(open_teacher(opened), images, 1)
            rate = len(images) / (time.perf_counter() - begun)
            other = np.flatnonzero(decided[name] != decided["checkpoint"])
            widest = float(gaps[other].max()) if len(other) else 0.0
            rows.append({"form": name, "differing": len(other), "widest_gap": widest, "images_per_second": rate})
            print(f"{name:12} {len(other):3} of {len(images):,} differ (widest gap {widest:.2g}), {rate:,.0f} images/s")
    if options.json:
        write_json(options.json, {"images": len(images), "forms": rows})


def forms(teacher: Path, network: nn.Module, folder: Path, stack: ExitStack) -> Iterator[tuple[str, Path]]:
    """Each form's name and a teacher's folder with it."""
    card = read_json(teacher / CARD)
    shape = tuple(card["input_shape"])
    yield "checkpoint", teacher
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = ({0: torch.export.Dim("n", min=1, max=1 << 16)},)
        torch.export.save(torch.export.export(network, (torch.rand(2, *shape),), dynamic_shapes=rows), folder / "m.pt2")
        torch.jit.save(torch.jit.trace(network, torch.rand(2, *shape)), folder / "m.pt")
    (folder / "m.onnx").write_bytes(export_onnx(network, shape))
    for name in ("m.pt2", "m.pt", "m.onnx"):
        kind = "onnx" if name == "m.onnx" else "exported"
        yield name.removeprefix("m"), fetched(card, folder / "fetched" / name, kind, checkpoint=folder / name)
    url = stack.enter_context(served(folder / "m.onnx"))
    yield "http", fetched(card, folder / "fetched" / "http", "http", http={"url": url, "model": "lenet"})


def fetched(card: dict[str, Any], folder: Path, kind: str, **more: Any) -> Path:
    """A teacher's folder, as the stage fetch_teacher writes it."""
    shutil.rmtree(folder, ignore_errors=True)
    names = tuple(map(str, range(card["classes"])))
    shape, batch = tuple(card["input_shape"]), card["call_batch"]
    found = fetch_foreign(ModelDescription(kind, shape, card["classes"], names, batch, **more), folder, Link())
    new = {key: card[key] for key in ("input_shape", "bounds", "classes")}
    new |= {"kind": kind, "architecture": None, "model": found.model, "call_batch": found.call_batch}
    new |= {"access": found.access} if found.access else {}
    write_json(folder / CARD, {**new, "identity": identity(new, digest_weights(folder, new))})
    return folder


if __name__ == "__main__":
    main()
