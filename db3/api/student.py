"""A student to be used: it predicts, is saved, exported and opened again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, UInt8
from torch import nn

from db3.digest import digest_file
from db3.errors import DataError, one_line
from db3.files import read_json, write_bytes, write_json, write_text
from db3.gate.gate import Gate
from db3.gate.onnx_metadata import put_gate
from db3.gate.scores import student_probabilities
from db3.images.priors import prior_images
from db3.networks import build, count_parameters, load_weights, multiply_adds, save_weights
from db3.students.export import TOLERANCE, check_parity, export_onnx
from db3.students.int8 import Int8Facts, check_int8, quantise_onnx
from db3.students.model_card import model_card
from db3.teachers.base import ImageShape

_CARD, _WEIGHTS = "student.json", "student.safetensors"
_CHECKED = 64  # made images on which an exported file is held against the network


@dataclass(frozen=True)
class Student:
    """A trained student.

    Attributes:
        network: float32 images [n, C, H, W] in [0, 1] to logits [n, K]; on the CPU, in evaluation mode.
        architecture: a name that `db3.build_network` knows.
        input_shape: (C, H, W).
        class_names: of classes 0, 1, …
        told: what its card tells of teacher, transfer set, training and measures.
    """

    network: nn.Module
    architecture: str
    input_shape: ImageShape
    class_names: tuple[str, ...]
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """How many weights it has."""
        return count_parameters(self.network)

    def scores(self, images: UInt8[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n k"]:
        """Probabilities of the classes, float64: the softmax of its logits."""
        return student_probabilities(self.network, images)

    def predict(self, images: UInt8[np.ndarray, "n c h w"]) -> Int64[np.ndarray, " n"]:
        """The class of each image."""
        return np.asarray(self.scores(images).argmax(axis=1), np.int64)

    def export(self, path: str | Path, gate: Gate | None = None) -> Path:
        """Write the student as an ONNX file (`db3.export_onnx`), held against the network first.

        Args:
            path: of the file.
            gate: goes into the file's metadata (`db3.read_gate`); None: none does.

        Raises:
            ConfigError: the extra `onnx` is not installed.
        """
        model = export_onnx(self.network, self.input_shape)
        check_parity(model, self.network, prior_images(self.input_shape, range(_CHECKED), 0))
        write_bytes(Path(path), model if gate is None else put_gate(model, gate))
        return Path(path)

    def export_int8(self, path: str | Path, images: UInt8[np.ndarray, "n c h w"]) -> Int8Facts:
        """Write the student as an ONNX file of int8 (`db3.quantise_onnx`); no gate, which would promise nothing of it.

        Args:
            path: of the file.
            images: some hundred like those that it is to decide; the ranges of the activations are taken from them.

        Returns:
            What it is beside the float32 file, on the same images.

        Raises:
            ConfigError: the extra `onnx` is not installed.
        """
        model = export_onnx(self.network, self.input_shape)
        quantised = quantise_onnx(model, images)
        write_bytes(Path(path), quantised)
        return check_int8(quantised, model, images)

    def save(self, folder: str | Path, gate: Gate | None = None) -> Path:
        """Write weights, card for programs and card for people; `open_student` reads them again.

        Args:
            folder: for the files.
            gate: goes onto the cards, and into student.onnx where that is there; None: none does.
        """
        folder = Path(folder)
        save_weights(self.network, folder / _WEIGHTS, {"architecture": self.architecture})
        card = {
            "architecture": self.architecture,
            "input_shape": list(self.input_shape),
            "classes": len(self.class_names),
            "class_names": list(self.class_names),
            "parameters": self.parameters,
            "bytes": (folder / _WEIGHTS).stat().st_size,
            "digest": digest_file(folder / _WEIGHTS),
            "multiply_adds": multiply_adds(self.network, self.input_shape),
            **self.told,
        }
        if gate is not None:
            card["gate"] = json.loads(gate.to_json())
            card["measured"] = f"{card.get('measured', '')}\n\n{gate.to_markdown()}".strip()
        if (folder / "student.onnx").is_file():
            if gate is not None:
                write_bytes(folder / "student.onnx", put_gate((folder / "student.onnx").read_bytes(), gate))
            card["onnx"] = {"checked": _CHECKED, "tolerance": TOLERANCE, "digest": digest_file(folder / "student.onnx")}
        write_json(folder / _CARD, card)
        write_text(folder / "README.md", model_card(card, card.get("training", {}), card.get("measured")))
        return folder


def open_student(folder: str | Path) -> Student:
    """The student that `Student.save` wrote.

    Raises:
        DataError: a file is missing, or another one than the card tells of.
    """
    folder = Path(folder)
    card = read_json(folder / _CARD)
    told = ("teacher", "transfer", "training", "measured", "int8")
    try:
        if digest_file(folder / _WEIGHTS) != card["digest"]:
            raise DataError(f"{folder / _WEIGHTS} is not the file that {_CARD} tells of: copy the folder again, whole")
        channels, height, width = card["input_shape"]
        shape, names = (channels, height, width), tuple(card["class_names"])
        network = build(card["architecture"], shape, len(names), seed=None)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder} holds no student ({one_line(error)}); expected what Student.save wrote") from None
    load_weights(network, folder / _WEIGHTS)
    return Student(network.eval(), card["architecture"], shape, names, {key: card[key] for key in told if key in card})
