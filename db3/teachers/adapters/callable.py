"""A teacher that is any Python function: images in, classes out."""

import importlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import reduce
from pathlib import Path
from typing import Any

import numpy.typing as npt
from jaxtyping import Float, Int
from torch import Tensor

from db3.digest import digest_file
from db3.errors import ConfigError, DataError, Db3Error, TeacherError, one_line
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.foreign_model import FetchedModel, ModelDescription, StoredModel
from db3.teachers.adapters.http_settings import Link
from db3.teachers.adapters.outputs import STRICT, ClassesMap, Unclear, reader
from db3.teachers.adapters.preprocessing import Preprocessing, from_json
from db3.teachers.adapters.retries import RetryableError
from db3.teachers.base import TeacherSpec

# What Python, requests and httpx call an exception of a function whose server is not there.
_UNREACHABLE = ("ConnectionError", "ConnectError")
Answering = Callable[[npt.NDArray[Any]], Any]


class CallableTeacher:
    """A function that tells its decision; scores it returns are hidden.

    The function is called with at most `spec.max_batch` images and never with padding, since it may cost money.

    Args:
        function: maps an array of the declared layout and type to n integers, names, or rows of K scores.
        spec: shape, bounds, classes, the largest call and identity.
        preprocessing: what the function sees of an image.
        labels: names of the classes, for a function that answers with names.
        classes_map: which of the K classes each of the model's own is (`db3.teachers.adapters.outputs`).
        unclear: what becomes of answers that are no single class.
        timeout: seconds that a call may take; None: any.
    """

    def __init__(
        self,
        function: Answering,
        spec: TeacherSpec,
        preprocessing: Preprocessing | None = None,
        *,
        labels: Sequence[str] = (),
        classes_map: ClassesMap | None = None,
        unclear: Unclear = STRICT,
        timeout: float | None = None,
    ) -> None:
        self._timeout = timeout
        self._function, self.spec = function, spec
        self._who = f"the function {getattr(function, '__qualname__', type(function).__name__)}"
        self._read = reader(spec, self._who, labels, classes_map, unclear)
        self._see = preprocessing or Preprocessing()
        self._see.check(spec.input_shape)

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """Top-1 class of each image.

        Raises:
            RetryableError: the function raised: `Batching` calls it again, as often as its link says.
            TeacherError: it did not answer with one class or K scores an image, or not in time: then it is not called
                again, since the call cannot be ended and may still cost.
        """
        seen = self._see.array(images)
        try:
            output = self._function(seen) if self._timeout is None else self._in_time(seen)
        except Db3Error:
            raise
        except Exception as error:  # a foreign function may raise anything
            names = {kind.__name__ for kind in type(error).__mro__}
            raise RetryableError(
                f"{self._who} failed on {len(images)} images ({one_line(f'{type(error).__name__}: {error}')}); "
                "fix it and run again",
                down=not names.isdisjoint(_UNREACHABLE),
            ) from error
        return self._read(output, len(images)).to(images.device)

    def _in_time(self, seen: npt.NDArray[Any]) -> Any:
        """What the function returns or raises, from a thread that does not keep the process alive."""
        answer: Future[Any] = Future()

        def work() -> None:
            try:
                answer.set_result(self._function(seen))
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        try:
            return answer.result(self._timeout)
        except TimeoutError:
            if answer.done():  # the function's own
                raise
            raise TeacherError(
                f"{self._who} had not answered {len(seen)} images after {self._timeout:g} s; what was answered "
                "before is kept: run again, or give a longer timeout or a smaller call_batch"
            ) from None


def fetch_callable(description: ModelDescription, folder: Path, link: Link) -> FetchedModel:  # noqa: ARG001  (as all)
    """Find the function; it is not called, since that may cost money."""
    name = str(description.function)
    find(name)
    model = {"function": name, "version": description.version, "source": source_digest(name)}
    return FetchedModel(model, description.call_batch)


def open_callable(stored: StoredModel) -> Batching:
    """The function that a card describes, never called with padding.

    Raises:
        DataError: the module's source changed since the teacher was fetched.
    """
    model = stored.model
    function = find(model["function"])
    if source_digest(model["function"]) != model["source"]:
        raise DataError(f"the source of {model['function']} changed; run the stage fetch_teacher again")
    teacher = CallableTeacher(
        function,
        stored.spec,
        from_json(model["preprocessing"]),
        labels=model["labels"],
        classes_map=model.get("classes_map"),
        unclear=stored.unclear,
    )
    return Batching(teacher, pad=False, sending=stored.sending, answered=stored.answered, link=stored.link)


def find(name: str) -> Answering:
    """Import the module that the user named, and take the function from it.

    Args:
        name: `package.module:function`; the function may be a dotted path.

    Raises:
        ConfigError: the module or the function is missing, or is no function.
    """
    module, _, path = name.partition(":")
    try:
        found = reduce(getattr, path.split("."), importlib.import_module(module))
    except ImportError as error:
        raise ConfigError(
            f"teacher.function is {name!r}, but {module} cannot be imported ({error}): run in its folder or install it"
        ) from error
    except AttributeError:
        raise ConfigError(f"teacher.function is {name!r}, but {module} has no {path}: correct the name") from None
    if not callable(found):
        raise ConfigError(f"teacher.function is {name!r}, which is no function but {type(found).__name__}")
    return found


def source_digest(name: str) -> str | None:
    """Digest of the named module's source file; None where it has none (a compiled module)."""
    file = getattr(importlib.import_module(name.partition(":")[0]), "__file__", None)
    return digest_file(Path(file)) if file and file.endswith(".py") else None
