"""Whatever decides, made a teacher: a function, a network, a file, an address, a folder that the pipeline wrote."""

import copy
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from db3.arithmetic import has_twin
from db3.digest import digest_arrays, digest_json
from db3.errors import ConfigError
from db3.files import write_json
from db3.networks import count_parameters
from db3.settings.declare import build, names_of, shared
from db3.settings.teacher import Link, PixelSettings, TeacherSettings
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.callable import Answering, CallableTeacher
from db3.teachers.adapters.network import NetworkTeacher
from db3.teachers.adapters.outputs import STRICT, check_naming, full_map
from db3.teachers.adapters.preprocessing import Preprocessing
from db3.teachers.adapters.quantised import Quantised
from db3.teachers.answers.store import Account, AnswerStore
from db3.teachers.base import Answered, Counted, ImageShape, Sending, Teacher, TeacherSpec
from db3.teachers.budget import Budget, Costs
from db3.teachers.fetch import describe_model, fetch_model, unclear_of, with_rejected
from db3.teachers.folder import (
    CARD,
    LEVELS,
    LateAdapter,
    account_of,
    digest_weights,
    identity,
    late_adapter,
    read_card,
    stack_votes,
    votes_of,
)

_FILES = {".onnx": "onnx", ".pt2": "exported", ".pt": "exported"}
_PIXELS = tuple(field.name for field in fields(PixelSettings))
_OF_FUNCTIONS = (*_PIXELS, "votes", "call_batch", "quantise", "classes_map", "unclear", "several", "threshold")
_BATCH = 64  # images a call, where nothing is said


class ModelTeacher:
    """A teacher that is asked at once (`decide`), or within a budget and with a store of answers (`open`).

    Attributes:
        spec: what is known of it without asking.
        class_names: of classes 0, 1, …
        parameters: its weights; None: unknown.
        unclear: what becomes of answers that are no single class: `error`, or they count as the last one (`reject`),
            samples of which are left out (`skip`).
        costs: of what `decide` has asked.
    """

    def __init__(
        self,
        adapter: Callable[[], LateAdapter],
        account: Account,
        class_names: Sequence[str],
        *,
        votes: int = 1,
        parameters: int | None = None,
        unclear: str = "error",
    ) -> None:
        self.unclear = unclear
        self._adapter, self._account, self._votes = adapter, account, votes
        self.spec, self.class_names, self.parameters = adapter().spec, tuple(class_names), parameters
        self._plain = self.open()
        self.costs = self._plain.costs

    def __repr__(self) -> str:
        return f"ModelTeacher({self._account.name}: {self.spec})"

    def open(self, limit: int | None = None, answers: AnswerStore | None = None) -> Budget:
        """The stack of adapter, answers, votes and budget (`db3.teachers.base`).

        Args:
            limit: images that may be sent, those of earlier runs with the same answers included; None: any number.
            answers: where every answer is kept, and found again.
        """
        costs = Costs(limit=limit)
        account = None if answers is None else self._account
        return Budget(stack_votes(self._adapter(), self._votes, costs, answers, account), costs=costs)

    def sent(self, answers: AnswerStore) -> int:
        """Images that were ever sent to it, as a store of answers has counted them."""
        return answers.balance(self._account)[0]

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """Top-1 class of each image; nothing is kept.

        Args:
            images: float32 in [0, 1].
        """
        return self._plain.decide(images)


def teacher(
    model: object,
    *,
    shape: ImageShape | None = None,
    classes: int | None = None,
    labels: Sequence[str] | None = None,
    name: str | None = None,
    device: str = "cpu",
    link: Link | None = None,
    timeout: float | None = None,
    **described: Any,
) -> ModelTeacher:
    """A teacher of whatever decides.

    Args:
        model: one of

            * a function: an array float32 [n, C, H, W] in [0, 1] to n classes, names, or rows of K scores;
            * a network: float32 [n, C, H, W] in [0, 1] to logits [n, K];
            * a path: `.onnx`, `.pt2` or `.pt`, or a folder with teacher.json as the pipeline writes it;
            * an address http(s)://…: `http=dict(model=…)` for the Open Inference Protocol, `http=dict(answer=…)` for an
              endpoint that takes pictures;
            * `package.module:function`, as text;
            * a command as a list: `["./classify", "--quiet"]` (`db3.teachers.adapters.process`);
            * an object with `spec` and `decide` (`db3.Teacher`).
        shape: (C, H, W) of one image; not needed where the model says it.
        classes: K; None: as many as `labels`.
        labels: the model's names of classes 0, 1, …; None: 0, 1, …
        name: what its answers are kept under, of a function or an address: give another one when the model behind it
            has changed; None: the function's own.
        device: where a local model runs.
        link: how a remote model is reached.
        timeout: seconds that a call of a function, or a request, may take; None: any of a function, `link.timeout` of a
            remote model.
        described: whatever else the group `teacher` of the parameters knows (docs/guides/own-teacher.md): `mean`,
            `std`, `scale`, `resize`, `layout`, `dtype`, `classes_map`, `input`, `output`, `votes`, `call_batch`,
            `quantise`, `http`, `line`, `unclear`, `several`, `threshold`.

    Raises:
        ConfigError: something is missing, unknown or of a wrong type.
        DataError, TeacherError: a file or a server is not as expected.
    """
    unknown = [key for key in described if key not in names_of(TeacherSettings)]
    if unknown:
        build(TeacherSettings, {unknown[0]: None}, "teacher")  # names the nearest one
    link = _timed(model, link, timeout)
    if isinstance(model, str | os.PathLike) and (Path(model) / CARD).is_file():
        return _of_folder(Path(model), device, link)
    if isinstance(model, Teacher):
        return _of_teacher(model, labels, described)
    shape, names = _checked_shape(shape), _class_names(classes, labels)
    if isinstance(model, nn.Module):
        return _of_network(model, shape, names, device, described)
    if callable(model):
        return _of_function(model, shape, names, labels is not None, name, link, timeout, described)
    described = {**described, "classes": len(names), "labels": names}
    if isinstance(model, list | tuple):
        settings = build(
            TeacherSettings, {"version": name, **described, "kind": "process", "command": model}, "teacher"
        )
    elif isinstance(model, str | os.PathLike):
        settings = _settings(os.fspath(model), described, name)
    else:
        raise ConfigError(
            f"the model is {type(model).__name__}; expected a function, a network, a path, an address http(s)://…, a "
            "command as a list, or package.module:function"
        )
    return _fetched(settings, shape, names, device, link or Link())


def _timed(model: object, link: Link | None, timeout: float | None) -> Link | None:
    """The link with its time-out; of a function in memory the adapter has one of its own."""
    if timeout is None:
        return link
    timed = build(Link, {**vars(link or Link()), "timeout": timeout}, "")
    if isinstance(model, str) and model.startswith(("http://", "https://")):
        return timed
    if isinstance(model, str | os.PathLike | nn.Module | Teacher) or not callable(model):
        raise ConfigError("timeout says nothing of this model; expected a function or an address http(s)://…")
    return link


def _checked_shape(shape: object) -> ImageShape:
    if shape is None:
        raise ConfigError("shape is missing; expected (channels, height, width) of one image, as shape=(3, 32, 32)")
    sizes = list(shape) if isinstance(shape, tuple | list) else []
    if len(sizes) != 3 or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ConfigError(f"shape is {shape!r}; expected (channels, height, width) of one image, as shape=(3, 32, 32)")
    channels, height, width = sizes
    return channels, height, width


def _class_names(classes: int | None, labels: Sequence[str] | None) -> list[str]:
    if labels is None:
        if classes is None:
            raise ConfigError("classes is missing; expected their number, as classes=10, or their names, as labels=[…]")
        build(TeacherSettings, {"classes": classes}, "teacher")
        return [str(number) for number in range(classes)]
    if classes not in (None, len(labels)):
        raise ConfigError(f"labels names {len(labels)} classes, but classes is {classes}: name each of them")
    names = list(map(str, labels))
    build(TeacherSettings, {"classes": len(names)}, "teacher")
    check_naming(len(names), names, None)
    return names


def _settings(model: str, described: dict[str, Any], name: str | None) -> TeacherSettings:
    """The parameters that describe a model elsewhere."""
    given = {"version": name, **described}
    if model.startswith(("http://", "https://")):
        http = {**described.get("http", {}), "url": model}
        kind = "http_image" if http.get("answer") else "http"
        return build(TeacherSettings, {**given, "kind": kind, "http": http}, "teacher")
    if Path(model).suffix.lower() in _FILES:
        kind = _FILES[Path(model).suffix.lower()]
        return build(TeacherSettings, {**given, "version": None, "kind": kind, "checkpoint": model}, "teacher")
    if ":" in model and "://" not in model:
        return build(TeacherSettings, {**given, "kind": "callable", "function": model}, "teacher")
    raise ConfigError(
        f"the model is {model!r}; expected a file {', '.join(_FILES)}, a folder with {CARD}, an address http(s)://… or "
        "package.module:function"
    )


def _fetched(settings: TeacherSettings, shape: ImageShape, names: list[str], device: str, link: Link) -> ModelTeacher:
    """A file or an address, fetched as the pipeline does: into a folder that goes when the teacher goes."""
    folder = Path(tempfile.mkdtemp(prefix="db3-teacher-"))
    try:
        _write_card(settings, shape, names, folder, link)
        opened = _of_folder(folder, device, link)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(opened, shutil.rmtree, folder, ignore_errors=True)
    return opened


def _write_card(settings: TeacherSettings, shape: ImageShape, names: list[str], folder: Path, link: Link) -> None:
    found, names = fetch_model(describe_model(settings, shape, names), folder, link), with_rejected(names, settings)
    card = {
        **{"kind": settings.kind, "architecture": None, "input_shape": list(shape), "bounds": [0.0, 1.0]},
        **{"classes": len(names), "class_names": names, "quantise": settings.quantise, "votes": settings.votes},
        **({} if settings.unclear == "error" else {"unclear": settings.unclear}),
        **{key: value for key, value in vars(found).items() if value is not None},
    }
    write_json(folder / CARD, {**card, "identity": identity(card, digest_weights(folder, card))})


def _of_folder(folder: Path, device: str, link: Link | None) -> ModelTeacher:
    card = read_card(folder)
    names = card.get("class_names") or [str(number) for number in range(card["classes"])]
    adapter, parameters = partial(late_adapter, folder, device, link), card.get("parameters")
    unclear, account, votes = card.get("unclear") or "error", account_of(folder), votes_of(folder)
    return ModelTeacher(adapter, account, names, votes=votes, parameters=parameters, unclear=unclear)


def _of_function(
    function: Answering,
    shape: ImageShape,
    names: list[str],
    named: bool,
    name: str | None,
    link: Link | None,
    timeout: float | None,
    described: dict[str, Any],
) -> ModelTeacher:
    checked = _checked(described, _OF_FUNCTIONS, "a function")
    see = Preprocessing(**shared(PixelSettings, checked))
    who = name or f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}"
    labels = names if named else []
    own, unclear, decided = (
        full_map(checked.classes_map, len(names)),
        unclear_of(checked),
        with_rejected(names, checked),
    )
    declared = [] if unclear == STRICT else [[unclear.reject, unclear.first, unclear.threshold]]
    key = digest_json(["function", who, list(shape), len(names), labels, see.to_json(), own, *declared])
    spec = _spec(shape, len(decided), key, checked)

    def opened(sending: Sending, answered: Answered, counted: Counted) -> Teacher:
        settled = replace(unclear, counted=counted)
        asked = CallableTeacher(function, spec, see, labels=labels, classes_map=own, unclear=settled, timeout=timeout)
        return _rounded(Batching(asked, pad=False, sending=sending, answered=answered, link=link))

    account = Account(key, len(decided), f"function {who}")
    late = partial(LateAdapter, spec, opened)
    return ModelTeacher(late, account, decided, votes=checked.votes, unclear=checked.unclear)


def _of_network(
    network: nn.Module, shape: ImageShape, names: list[str], device: str, described: dict[str, Any]
) -> ModelTeacher:
    checked = _checked(described, ("votes", "call_batch", "quantise", "arithmetic"), "a network")
    own = copy.deepcopy(network)
    arithmetic = checked.arithmetic if "arithmetic" in described or has_twin(own) else "float32"
    weights = digest_arrays({key: value.detach().cpu().numpy() for key, value in own.state_dict().items()})
    key = digest_json(["network", repr(own), weights, list(shape), len(names), arithmetic])
    spec = _spec(shape, len(names), key, checked)

    def opened(sending: Sending, answered: Answered, _: Counted) -> Teacher:
        asked = NetworkTeacher(copy.deepcopy(own), spec, device, arithmetic=arithmetic)
        return _rounded(Batching(asked, pad=arithmetic != "exact", sending=sending, answered=answered))

    account = Account(key, len(names), f"network {type(network).__name__}")
    votes, size = checked.votes, count_parameters(own)
    return ModelTeacher(partial(LateAdapter, spec, opened), account, names, votes=votes, parameters=size)


def _of_teacher(model: Teacher, labels: Sequence[str] | None, described: dict[str, Any]) -> ModelTeacher:
    checked = _checked(described, ("votes",), "an object with `decide`")
    spec = model.spec

    def opened(sending: Sending, answered: Answered, _: Counted) -> Teacher:
        return Batching(model, pad=False, sending=sending, answered=answered)

    account = Account(spec.identity, spec.classes, type(model).__name__)
    names = _class_names(spec.classes, labels)
    return ModelTeacher(partial(LateAdapter, spec, opened), account, names, votes=checked.votes)


def _spec(shape: ImageShape, classes: int, key: str, described: TeacherSettings) -> TeacherSpec:
    channels, height, width = shape
    batch = _BATCH if described.call_batch == "auto" else described.call_batch
    return TeacherSpec((channels, height, width), (0.0, 1.0), classes, batch, key, LEVELS[described.quantise])


def _checked(described: dict[str, Any], known: Sequence[str], what: str) -> TeacherSettings:
    """What is said of a model in memory, as the parameters are checked; what says nothing of it is refused."""
    wrong = sorted(set(described) - set(known))
    if wrong:
        raise ConfigError(f"{wrong[0]} says nothing of {what}, which takes {', '.join(known)}: leave it out")
    return build(TeacherSettings, {**described, "kind": "callable", "function": "in:memory"}, "teacher")


def _rounded(asked: Teacher) -> Teacher:
    return Quantised(asked) if asked.spec.levels else asked
