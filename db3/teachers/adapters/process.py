"""A teacher that is a program: one image a line in, one class a line out.

The program is started when it is first asked and runs until its input ends.

* A line in is the base64 (RFC 4648, no breaks) of a PNG (`line: png`), or of the bytes of the pixels in the declared
  layout and type, little-endian, C order (`line: pixels`).
* A line out is the class: a name of `labels`, or a number from 0 on; `null` is no class (`teacher.unclear`).
  Answers come in the order of the images, each flushed as soon as it is known. There may be several lines under way.
* stderr is the program's own; its end is shown when the program fails. Anything else on stdout is an error whatever
  `teacher.unclear` says: one line too many would give every later image its neighbour's class.

A program that ends, or gives no answer for `Link.timeout` seconds, is started again and asked about the images that it
has not answered; one image is tried `Link.attempts` times.
"""

import base64
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.digest import digest_file
from db3.errors import ConfigError, DataError, TeacherError, one_line
from db3.teachers.adapters.foreign_model import FetchedModel, ModelDescription, StoredModel
from db3.teachers.adapters.http_settings import Link
from db3.teachers.adapters.outputs import STRICT, ClassesMap, Unclear, check_naming, read_class
from db3.teachers.adapters.picture import encode_picture
from db3.teachers.adapters.preprocessing import Preprocessing, from_json
from db3.teachers.adapters.program import program
from db3.teachers.adapters.retries import RetryableError, retry
from db3.teachers.base import Answered, Sending, TeacherSpec

_NO_CLASS = "null"


class ProcessTeacher:
    """A program that is asked line by line.

    Args:
        command: program and arguments; no shell reads them.
        spec: `max_batch` lines are under way at most.
        labels: the program's names of the classes.
        preprocessing: what it sees of an image; of a PNG the size only.
        line: `png` or `pixels`.
        classes_map: which of the K classes each of the model's own is (`db3.teachers.adapters.outputs`).
        unclear: what becomes of an answer `null`.
        link: `timeout` and `attempts`.
        sending: called before each line; what it raises passes through.
        answered: called with each answer.
    """

    def __init__(
        self,
        command: Sequence[str],
        spec: TeacherSpec,
        labels: Sequence[str] = (),
        preprocessing: Preprocessing | None = None,
        *,
        line: str = "png",
        classes_map: ClassesMap | None = None,
        unclear: Unclear = STRICT,
        link: Link | None = None,
        sending: Sending | None = None,
        answered: Answered | None = None,
    ) -> None:
        check_naming(spec.classes - unclear.reject, labels, classes_map)
        self.spec, self._see, self._line = spec, preprocessing or Preprocessing(), line
        self._labels, self._map, self._unclear = list(labels), classes_map, unclear
        self._link, self._sending, self._answered = link or Link(), sending, answered
        self._program, self._who = program(tuple(command)), f"the program {Path(command[0]).name}"

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """Top-1 class of each image; any number of them.

        Raises:
            TeacherError: one line; what had been answered was told to `answered`.
        """
        lines, found = self._lines(images), list[int]()

        def told(answer: str) -> None:
            found.append(self._read(answer))
            if self._answered:
                self._answered(len(found) - 1, torch.tensor(found[-1:]))

        def attempt() -> None:
            before = len(found)
            try:
                self._program.exchange(lines[before:], self._announce, told, self._link.timeout, self.spec.max_batch)
            except RetryableError as error:
                if len(found) == before:  # otherwise it got further, and the next image has all its attempts
                    raise RetryableError(f"{self._who} failed: {error}: correct it, then run again") from None
            except TeacherError as error:
                raise TeacherError(f"{self._who} broke off: {error}") from None

        with self._program.guard:
            while len(found) < len(lines):
                retry(attempt, self._link)
        return torch.tensor(found, dtype=torch.int64).to(images.device)

    def _announce(self, count: int) -> None:
        if self._sending:
            self._sending(count)

    def _lines(self, images: Float[Tensor, "n c h w"]) -> list[bytes]:
        if self._line == "png":
            return [base64.b64encode(encode_picture(image, "png")) for image in self._see(images.cpu())]
        shown = self._see.array(images)
        return [base64.b64encode(image.astype(image.dtype.newbyteorder("<")).tobytes()) for image in shown]

    def _read(self, line: str) -> int:
        own = self._unclear.own(self.spec.classes, self._map)
        number = int(line) if line.isdecimal() and len(line) < 10 else -1
        answer = line if line in self._labels[:own] else number if 0 <= number < own else None
        if answer is None and line != _NO_CLASS:
            known = ", ".join(self._labels[:5]) + (", …" if self._labels[5:] else "")
            raise TeacherError(
                f"it printed {one_line(repr(line), 60)}; expected one of {known + ', or ' if known else ''}0 … "
                f"{own - 1}: correct teacher.labels, and print all else to stderr"
            )
        return read_class(answer, self.spec.classes, "it", self._labels, self._map, self._unclear)


def fetch_process(description: ModelDescription, folder: Path, link: Link) -> FetchedModel:  # noqa: ARG001  (as all)
    """Find the program; it is not started, since an answer may cost money."""
    if sys.platform == "win32":
        raise ConfigError("teacher.kind=process needs pipes that can be waited for, which Windows lacks: use WSL")
    command = list(description.command)
    if shutil.which(command[0]) is None:
        raise ConfigError(
            f"teacher.command names the program {one_line(command[0], 60)}, which is not here or not executable: "
            "correct it"
        )
    if description.line == "png" and description.input_shape[0] not in (1, 3):
        raise ConfigError(
            f"images have {description.input_shape[0]} channels; expected 1 or 3 for a picture: set dataset.channels, "
            "or teacher.line=pixels"
        )
    description.preprocessing.check(description.input_shape)
    own = {"command": command, "line": description.line, "version": description.version, "files": _files(command)}
    return FetchedModel(own, description.call_batch)


def open_process(stored: StoredModel) -> ProcessTeacher:
    """The program that a card describes.

    Raises:
        DataError: a file that the command names changed since the teacher was fetched.
    """
    model = stored.model
    found = _files(model["command"])
    for name in sorted({*found, *model["files"]}):
        if found.get(name) != model["files"].get(name):
            raise DataError(f"{name} changed since the teacher was fetched; run the stage fetch_teacher again")
    return ProcessTeacher(
        model["command"],
        stored.spec,
        model["labels"],
        from_json(model["preprocessing"]),
        line=model["line"],
        classes_map=model.get("classes_map"),
        unclear=stored.unclear,
        link=stored.link,
        sending=stored.sending,
        answered=stored.answered,
    )


def _files(command: Sequence[str]) -> dict[str, str]:
    """Digest of each file that the command names by its path: the program, its weights."""
    return {word: digest_file(Path(word)) for word in command if Path(word).is_file()}
