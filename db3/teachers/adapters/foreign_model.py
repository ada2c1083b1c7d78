"""A foreign model: as parameters describe it, as fetching found it, as it lies in the teacher's folder to be opened."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db3.digest import digest_file, digest_json
from db3.errors import DataError
from db3.files import whole_file
from db3.teachers.adapters.http_settings import Link
from db3.teachers.adapters.outputs import STRICT, ClassesMap, Unclear
from db3.teachers.adapters.preprocessing import Preprocessing
from db3.teachers.base import Answered, Counted, ImageShape, Sending, TeacherSpec, ignored

FOLDER = "model"  # below data/teacher/: the files of a foreign model, as they were given


@dataclass(frozen=True)
class ModelDescription:
    """What the user says of a model.

    Attributes:
        kind: `exported`, `onnx`, `http`, `http_image`, `callable` or `process`.
        input_shape: (C, H, W) of the dataset's images.
        classes: K, without the one that stands for unclear answers.
        labels: the model's names of its classes.
        call_batch: rows of a call or request.
        preprocessing: what the model sees of an image.
        checkpoint: a local model's file.
        function: of a callable, `package.module:function`.
        command: of a process, program and arguments.
        line: of a process: `png` or `pixels`.
        version: of a remote model, or what the user calls its state.
        input: name of the model's input; None: the only one.
        output: name of the model's output; None: the only one.
        http: settings of a remote model: `url`, `model`, `token`, …
        classes_map: which of the K classes each of the model's own is; None: they are the same.
        unclear: what becomes of answers that are no single class.
    """

    kind: str
    input_shape: ImageShape
    classes: int
    labels: tuple[str, ...]
    call_batch: int = 64
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    checkpoint: Path | None = None
    function: str | None = None
    command: tuple[str, ...] = ()
    line: str = "png"
    version: str | None = None
    input: str | None = None
    output: str | None = None
    http: Mapping[str, Any] = field(default_factory=dict)
    classes_map: ClassesMap | None = None
    unclear: Unclear = STRICT

    @property
    def own_classes(self) -> int:
        """Classes that the model itself tells apart."""
        return len(self.classes_map) if self.classes_map else self.classes

    @property
    def decided(self) -> int:
        """Classes that decisions are made of: K, and one for unclear answers where they count as one."""
        return self.classes + self.unclear.reject

    @property
    def file(self) -> Path:
        """The local model's file.

        Raises:
            DataError: there is none.
        """
        path = Path(str(self.checkpoint)).expanduser()
        if not path.is_file():
            raise DataError(f"cannot read {path}: no such file; expected the model: correct teacher.checkpoint")
        return path


@dataclass(frozen=True)
class FetchedModel:
    """What fetching a model found out: it goes onto the card.

    Attributes:
        model: all that decides an answer beside the files; part of the identity. No secret ever.
        call_batch: rows of a call, the model's own where it has a fixed number.
        parameters: number of weights, where it can be known.
        access: of a remote model: the NAME of the token's variable, its header and scheme; no part of the identity.
    """

    model: dict[str, Any]
    call_batch: int
    parameters: int | None = None
    access: dict[str, str | None] | None = None


@dataclass(frozen=True)
class StoredModel:
    """A model that was fetched, and how it is to be opened.

    Attributes:
        card: teacher.json.
        folder: where it lies.
        spec: as the card says.
        device: where a local model runs.
        link: how a remote one is reached.
        sending: called before every attempt to send images; None: nobody counts.
        answered: called with every part of a call that is answered; None: nobody keeps it.
        counted: called with what the adapter counts beside.
    """

    card: Mapping[str, Any]
    folder: Path
    spec: TeacherSpec
    device: str = "cpu"
    link: Link = field(default_factory=Link)
    sending: Sending | None = None
    answered: Answered | None = None
    counted: Counted = ignored

    @property
    def unclear(self) -> Unclear:
        """What becomes of answers that are no single class; those are counted."""
        return Unclear(**self.model.get("unclear", {}), counted=self.counted)

    @property
    def model(self) -> dict[str, Any]:
        """What `FetchedModel.model` wrote onto the card."""
        model: dict[str, Any] = self.card["model"]
        return model


def keep(source: Path, folder: Path, name: str) -> Path:
    """Copy a model's file below `folder`; returns where it lies now."""
    target = folder / FOLDER / name
    try:
        with source.open("rb") as file, whole_file(target) as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror}; correct teacher.checkpoint") from error
    return target


def digest_kept(folder: Path) -> str:
    """Digest of all files kept; of none, for a model that lies elsewhere."""
    root = folder / FOLDER
    files = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else []
    return digest_json({path.relative_to(root).as_posix(): digest_file(path) for path in files})
