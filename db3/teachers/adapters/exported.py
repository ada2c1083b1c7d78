"""A teacher that is a compiled PyTorch program: torch.export (.pt2), or TorchScript (.pt), which torch has deprecated.

Both archives hold a program that runs when it is called, with the rights of this process: open only files that you
would run. Pickled objects inside a .pt2 are refused all the same.
"""

import os
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.export.passes import move_to_device_pass

from db3.errors import ConfigError, DataError, TeacherError, one_line
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.foreign_model import FOLDER, FetchedModel, ModelDescription, StoredModel, keep
from db3.teachers.adapters.http_settings import Link
from db3.teachers.adapters.outputs import STRICT, ClassesMap, Unclear, reader
from db3.teachers.adapters.preprocessing import Preprocessing, from_json
from db3.teachers.base import TeacherSpec

_LOADING = threading.Lock()  # torch.export.load keeps state of the process, and so does _no_pickles
SUFFIXES = (".pt2", ".pt", ".ts", ".torchscript")


class ExportedTeacher:
    """A compiled program that tells its decision and hides its scores.

    Args:
        model: path of the .pt2 or TorchScript file.
        spec: shape, bounds, classes, call shape and identity; `max_batch` is the program's own where that is fixed.
        preprocessing: what the program sees of an image.
        classes_map: which of the K classes each of the model's own is (`db3.teachers.adapters.outputs`).
        unclear: what becomes of answers that are no single class.
        device: where it runs.

    Attributes:
        fixed_batch: rows of a call, where the program allows one number only.
        parameters: number of weights.

    Raises:
        DataError: the file is missing, damaged or of another format.
    """

    def __init__(
        self,
        model: Path,
        spec: TeacherSpec,
        preprocessing: Preprocessing | None = None,
        *,
        classes_map: ClassesMap | None = None,
        unclear: Unclear = STRICT,
        device: str = "cpu",
    ) -> None:
        self.spec, self._who = spec, f"the program {model.name}"
        self._read = reader(spec, self._who, (), classes_map, unclear)
        self._see, self._device = preprocessing or Preprocessing(), torch.device(device)
        self._see.check(spec.input_shape)
        load = _load_exported if model.suffix == ".pt2" else _load_script
        self._program, self.fixed_batch, self.parameters = _read(model, lambda: load(model, self._device))

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """Top-1 class of each image.

        Raises:
            TeacherError: the program failed, or its output is not one class or K scores an image.
        """
        try:
            with torch.inference_mode():
                output = self._program(self._see(images.to(self._device)))
        except Exception as error:  # a foreign program may raise anything
            raise TeacherError(
                f"{self._who} failed on {len(images)} images of shape {list(self._see.shape(self.spec.input_shape))} "
                f"({one_line(error)}): check teacher.call_batch, layout, dtype and resize"
            ) from None
        output = output[0] if isinstance(output, tuple | list) and len(output) == 1 else output
        if not isinstance(output, Tensor):
            raise TeacherError(
                f"{self._who} gave {type(output).__name__}; expected one tensor: export it with one output"
            )
        return self._read(output, len(images)).to(images.device)


def fetch_exported(description: ModelDescription, folder: Path, link: Link) -> FetchedModel:  # noqa: ARG001  (as all)
    """Copy the file, and try the program once on black images."""
    source = description.file
    if source.suffix not in SUFFIXES:
        raise DataError(f"{source} is no known program; expected one of {', '.join(SUFFIXES)}: export or rename it")
    path = keep(source, folder, f"model{'.pt2' if source.suffix == '.pt2' else '.pt'}")
    spec = TeacherSpec(
        description.input_shape, (0.0, 1.0), description.decided, description.call_batch, "not fetched yet"
    )
    teacher = ExportedTeacher(
        path,
        spec,
        description.preprocessing,
        classes_map=description.classes_map,
        unclear=description.unclear.trial,
    )
    rows = teacher.fixed_batch or description.call_batch
    try:
        teacher.decide(torch.zeros(rows, *description.input_shape))
    except TeacherError as error:
        raise ConfigError(str(error)) from None
    return FetchedModel({"file": path.name}, rows, teacher.parameters or None)


def open_exported(stored: StoredModel) -> Batching:
    """The teacher that a card describes, called with one padded shape."""
    file, see = stored.folder / FOLDER / stored.model["file"], from_json(stored.model["preprocessing"])
    teacher = ExportedTeacher(
        file,
        stored.spec,
        see,
        classes_map=stored.model.get("classes_map"),
        unclear=stored.unclear,
        device=stored.device,
    )
    return Batching(teacher, sending=stored.sending, answered=stored.answered)


_Loaded = tuple[Callable[[Tensor], Any], int | None, int]


def _read(model: Path, load: Callable[[], _Loaded]) -> _Loaded:
    if not zipfile.is_zipfile(model):
        raise DataError(
            f"cannot open {model}: no archive of torch.export.save or torch.jit.save; copy or export it again"
        )
    try:
        with _LOADING:
            return load()
    except Exception as error:  # a foreign archive may fail anywhere
        raise DataError(
            f"cannot open {model} ({one_line(error)}); expected what torch.export.save (.pt2) or torch.jit.save (.pt) "
            "wrote: export it with this version of torch"
        ) from None


def _load_exported(model: Path, device: torch.device) -> _Loaded:
    with _no_pickles():
        program = torch.export.load(model)
    if device.type != "cpu":
        program = move_to_device_pass(program, device)
    names = program.graph_signature.user_inputs
    if len(names) != 1:
        raise DataError(f"it takes {len(names)} inputs, not one of images")
    value = next(node.meta["val"] for node in program.graph.nodes if node.name == names[0])
    rows = value.shape[0] if value.ndim else None
    parameters = sum(tensor.numel() for tensor in program.parameters())
    return program.module(), rows if isinstance(rows, int) else None, parameters


def _load_script(model: Path, device: torch.device) -> _Loaded:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that TorchScript is deprecated is what the docs say
        warnings.simplefilter("ignore", DeprecationWarning)
        program = torch.jit.load(str(model), map_location=device).eval()  # type: ignore[no-untyped-call]
    return program, None, sum(tensor.numel() for tensor in program.parameters())


@contextmanager
def _no_pickles() -> Iterator[None]:
    """torch.export.load falls back to unpickling foreign objects; this variable forbids it."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
