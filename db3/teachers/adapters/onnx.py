"""A teacher that is an ONNX file, run by onnxruntime."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.errors import ConfigError, DataError, TeacherError, one_line
from db3.extras import needs
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.foreign_model import FOLDER, FetchedModel, ModelDescription, StoredModel, keep
from db3.teachers.adapters.http_settings import Link
from db3.teachers.adapters.outputs import STRICT, ClassesMap, Unclear, reader
from db3.teachers.adapters.preprocessing import Preprocessing, from_json
from db3.teachers.adapters.signature import check_classes, check_images_fit, pick_tensor
from db3.teachers.base import ImageShape, TeacherSpec

with needs("onnx", "teacher.kind=onnx"):
    import onnx
    import onnxruntime

    from db3.teachers.adapters.onnx_weights import count_weights, tensors_of

FILE = "model.onnx"
_TYPES = {"float": "float32", "float16": "float16", "double": "float64", "uint8": "uint8"}


class OnnxTeacher:
    """An ONNX model that tells its decision and hides its scores.

    Args:
        model: path of the file; its external weights, if any, lie beside it.
        spec: shape, bounds, classes, call shape and identity; `max_batch` is the file's own where that is fixed.
        preprocessing: what the model sees of an image.
        labels: names of the classes, for a model that answers with names.
        classes_map: which of the K classes each of the model's own is (`db3.teachers.adapters.outputs`).
        unclear: what becomes of answers that are no single class.
        input: name; None: the only one.
        output: logits, probabilities, integer classes or names; None: the only one.
        device: `cpu`, or `cuda` (needs onnxruntime-gpu).

    Raises:
        DataError: the file is missing, damaged, or its input does not fit the images.
        ConfigError: a name is missing or unknown, or there is no such device.
    """

    def __init__(
        self,
        model: Path,
        spec: TeacherSpec,
        preprocessing: Preprocessing | None = None,
        *,
        labels: Sequence[str] = (),
        classes_map: ClassesMap | None = None,
        unclear: Unclear = STRICT,
        input: str | None = None,  # noqa: A002  (ONNX's own word)
        output: str | None = None,
        device: str = "cpu",
    ) -> None:
        self.spec, self._who = spec, f"the ONNX model {model.name}"
        self._read = reader(spec, self._who, labels, classes_map, unclear)
        self._see = preprocessing or Preprocessing()
        self._see.check(spec.input_shape)
        self._session = _session(model, device)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        taken = inputs[pick_tensor([entry.name for entry in inputs], input, "input", self._who)]
        if output is None:  # scikit-learn's scores as a list of mappings, beside its names: no tensor
            outputs = [entry for entry in outputs if entry.type.startswith("tensor(")] or outputs
        given = outputs[pick_tensor([entry.name for entry in outputs], output, "output", self._who)]
        self._input, self._output = taken.name, given.name
        self.fixed_batch = _batch(taken, self._see, spec.input_shape, self._who)
        _check_output(given, unclear.own(spec.classes, classes_map), self._who)

    @property
    def names(self) -> tuple[str, str]:
        """Input and output that are used."""
        return self._input, self._output

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """Top-1 class of each image.

        Raises:
            TeacherError: the model failed, or its output is not one class or K scores an image.
        """
        try:
            output = self._session.run([self._output], {self._input: self._see.array(images)})[0]
        except Exception as error:  # onnxruntime's errors share no base class
            raise TeacherError(
                f"{self._who} failed on {len(images)} images ({one_line(error)}): check the file"
            ) from None
        return self._read(output, len(images)).to(images.device)


def fetch_onnx(description: ModelDescription, folder: Path, link: Link) -> FetchedModel:  # noqa: ARG001  (as all)
    """Copy the file and its external weights, and try the model once on black images."""
    source = description.file
    try:
        graph = onnx.load(str(source), load_external_data=False)
    except Exception as error:  # protobuf's DecodeError shares no base class with onnx's own
        raise DataError(f"cannot read {source} ({one_line(error)}); expected an ONNX file: copy it again") from None
    path = keep(source, folder, FILE)
    for name in sorted(
        {entry.value for tensor in tensors_of(graph) for entry in tensor.external_data if entry.key == "location"}
    ):
        if not _lies_beside(source, name):
            raise DataError(f"{source} keeps weights in {name}, outside its folder; expected them beside it: move them")
        keep(source.parent / name, folder, name)
    spec = TeacherSpec(
        description.input_shape, (0.0, 1.0), description.decided, description.call_batch, "not fetched yet"
    )
    teacher = OnnxTeacher(
        path,
        spec,
        description.preprocessing,
        labels=description.labels,
        classes_map=description.classes_map,
        unclear=description.unclear.trial,
        input=description.input,
        output=description.output,
    )
    rows = teacher.fixed_batch or description.call_batch
    teacher.decide(torch.zeros(rows, *description.input_shape))
    model = dict(zip(("input", "output"), teacher.names, strict=True))
    return FetchedModel(model, rows, count_weights(graph))


def _lies_beside(source: Path, name: str) -> bool:
    """Whether a file that the model names is in its folder, or below: links followed, or any file could be taken."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return False
    found = (source.parent / name).resolve()
    return any(found.is_relative_to(folder) for folder in (source.parent.resolve(), source.resolve().parent))


def open_onnx(stored: StoredModel) -> Batching:
    """The teacher that a card describes, called with one padded shape."""
    model = stored.model
    teacher = OnnxTeacher(
        stored.folder / FOLDER / FILE,
        stored.spec,
        from_json(model["preprocessing"]),
        labels=model["labels"],
        classes_map=model.get("classes_map"),
        unclear=stored.unclear,
        input=model["input"],
        output=model["output"],
        device=stored.device,
    )
    return Batching(teacher, sending=stored.sending, answered=stored.answered)


def _session(model: Path, device: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.use_deterministic_compute = True
    options.log_severity_level = 3  # errors are raised; warnings about a foreign file help nobody
    kind, _, number = device.partition(":")
    providers: list[Any] = ["CPUExecutionProvider"]
    if kind == "cuda":
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise ConfigError(
                "runtime.device=cuda, but this onnxruntime has no CUDA: install onnxruntime-gpu, or set cpu"
            )
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": int(number or 0)}))
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=providers)
    except Exception as error:  # onnxruntime's errors share no base class
        raise DataError(
            f"cannot open {model} ({one_line(error)}); expected an ONNX model: copy or export it again"
        ) from None
    if kind == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise ConfigError("runtime.device=cuda, but onnxruntime could not start CUDA: check the driver, or set cpu")
    return session


def _batch(taken: Any, see: Preprocessing, input_shape: ImageShape, who: str) -> int | None:
    """The fixed number of rows, if any; refuses another shape or type than the images will have."""
    dtype = _TYPES.get(taken.type.removeprefix("tensor(").removesuffix(")"))
    if dtype != see.dtype:
        want = f"set teacher.dtype={dtype}" if dtype else f"export it with one of {', '.join(_TYPES.values())}"
        raise ConfigError(f"{who} takes {taken.type}, but teacher.dtype is {see.dtype}: {want}")
    return check_images_fit(taken.shape, see, input_shape, who)


def _check_output(given: Any, classes: int, who: str) -> None:
    if not given.type.startswith("tensor("):
        raise ConfigError(
            f"{who}'s output {given.name} is {given.type}; expected a tensor: set teacher.output to another"
        )
    check_classes(given.shape, classes, who)
