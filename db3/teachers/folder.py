"""A teacher on disk: teacher.json, beside it whatever is local of the teacher, and the ways to open it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from db3.digest import digest_file, digest_json
from db3.errors import DataError
from db3.files import read_json
from db3.networks import build, load_weights
from db3.settings.training import Arithmetic
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.catalogue import open_foreign
from db3.teachers.adapters.foreign_model import StoredModel, digest_kept
from db3.teachers.adapters.http_settings import Link
from db3.teachers.adapters.network import NetworkTeacher
from db3.teachers.adapters.quantised import Quantised
from db3.teachers.answers.answers import Answers
from db3.teachers.answers.store import Account, AnswerStore
from db3.teachers.base import Answered, Counted, Sending, Teacher, TeacherSpec, ignored
from db3.teachers.budget import Budget, Costs
from db3.teachers.votes import Votes

CARD, WEIGHTS = "teacher.json", "teacher.safetensors"
_DECIDING = ("architecture", "input_shape", "bounds", "classes", "call_batch")
# Decides nothing where each image is decided by itself, in exact arithmetic.
_CALLS = ("call_batch", "memory_format")
# Part of the identity where they are not these.
_OPTIONAL: dict[str, Any] = {
    "quantise": "none",
    "votes": 1,
    "memory_format": "channels_last",
    "model": None,
    "arithmetic": None,
}
LEVELS = {"none": 0, "uint8": 256}


def identity(card: dict[str, Any], weights: str) -> str:
    """Digest of all that decides an answer: architecture, shape, bounds, classes, arithmetic, call shape and weights.

    In exact arithmetic the call shape decides nothing, and is no part of it.

    Of a foreign model that is its files, what it is shown (`model.preprocessing`) and what it is asked for; of a
    remote one its address, name, version and metadata in place of files.
    """
    special = {key: card[key] for key, usual in _OPTIONAL.items() if card.get(key, usual) != usual}
    deciding = {**{key: card[key] for key in _DECIDING}, **special, "weights": weights}
    if card.get("arithmetic") == "exact":
        deciding = {key: value for key, value in deciding.items() if key not in _CALLS}
    return digest_json(deciding)


def answers_identity(card: dict[str, Any], weights: str) -> str:
    """Digest of all that decides a single answer to given pixels: how many are let vote, and to which levels an image
    is rounded before it is asked, decides none.
    """
    return identity({name: value for name, value in card.items() if name not in ("votes", "quantise")}, weights)


def is_open(card: dict[str, Any]) -> bool:
    """Whether the teacher is a network of db3, whose scores the white-box baseline may see."""
    return card.get("model") is None


def digest_weights(folder: Path, card: dict[str, Any]) -> str:
    """Digest of the files that make the teacher."""
    return digest_file(folder / WEIGHTS) if is_open(card) else digest_kept(folder)


def read_card(folder: Path) -> dict[str, Any]:
    """teacher.json, checked against the files beside it.

    Raises:
        DataError: a file is missing, the card is incomplete, or the files are not those it was written for.
    """
    card: dict[str, Any] = read_json(folder / CARD)
    absent = [key for key in (*_DECIDING, "identity") if key not in card]
    if absent:
        raise DataError(f"{folder / CARD} has no {', '.join(absent)}; run the stage fetch_teacher again")
    if is_open(card) and not (folder / WEIGHTS).is_file():
        raise DataError(f"{folder / WEIGHTS} is missing; run the stage fetch_teacher again")
    found = identity(card, digest_weights(folder, card))
    if found != card["identity"]:
        raise DataError(
            f"{folder / WEIGHTS if is_open(card) else folder} gives the teacher identity {found[:12]}, but {CARD} says "
            f"{card['identity'][:12]}: the weights were replaced; run the stage fetch_teacher again"
        )
    return card


def read_spec(folder: Path) -> TeacherSpec:
    """What may be known of the teacher without asking it."""
    card = read_card(folder)
    channels, height, width = card["input_shape"]
    low, high = card["bounds"]
    return TeacherSpec(
        input_shape=(channels, height, width),
        bounds=(low, high),
        classes=card["classes"],
        max_batch=card["call_batch"],
        identity=card["identity"],
        levels=LEVELS[card.get("quantise", "none")],
    )


def account_of(folder: Path, scope: str = "") -> Account:
    """The teacher in the store of answers.

    Args:
        folder: with teacher.json.
        scope: of the work that asks: what a budget limits.
    """
    card = read_card(folder)
    model = card.get("model") or {"kind": "network", "name": card["architecture"]}
    place = model.get("url") or model.get("function") or model.get("file") or " ".join(model.get("command", ()))
    name = " ".join(str(word) for word in (model["kind"], model.get("name") or model.get("model"), place) if word)
    return Account(answers_identity(card, digest_weights(folder, card)), card["classes"], name, scope)


def open_network(folder: Path) -> nn.Module:
    """The teacher's network with its scores: for its own training and the white-box baseline, never for a search.

    Raises:
        DataError: the teacher is no network of db3.
    """
    card = read_card(folder)
    if not is_open(card):
        raise DataError(
            f"{folder} holds a teacher of kind {card['kind']}, which hides its scores: only its decisions show"
        )
    channels, height, width = card["input_shape"]
    network = build(card["architecture"], (channels, height, width), card["classes"], seed=None)
    load_weights(network, folder / WEIGHTS)
    return network.eval()


def open_adapter(
    folder: Path,
    device: str = "cpu",
    *,
    sending: Sending | None = None,
    answered: Answered | None = None,
    counted: Counted = ignored,
    link: Link | None = None,
) -> Teacher:
    """The innermost layer: the model itself, asked in its own calls, shown the levels that the card names.

    Args:
        folder: with teacher.json.
        device: where a local model runs.
        sending: called before each attempt with the number of images about to be sent; it may raise to forbid the
            sending. Possibly from another thread, but one call at a time.
        answered: called with each part of a call that is answered; likewise.
        counted: called with what the adapter counts beside; likewise.
        link: how a remote teacher is reached.
    """
    card, spec = read_card(folder), read_spec(folder)
    if is_open(card):
        memory_format = card.get("memory_format", _OPTIONAL["memory_format"])
        arithmetic: Arithmetic = "exact" if card.get("arithmetic") == "exact" else "float32"
        network = NetworkTeacher(open_network(folder), spec, device, memory_format, arithmetic)
        teacher: Teacher = Batching(network, pad=arithmetic != "exact", sending=sending, answered=answered)
    else:
        teacher = open_foreign(StoredModel(card, folder, spec, device, link or Link(), sending, answered, counted))
    return Quantised(teacher) if spec.levels else teacher


def votes_of(folder: Path) -> int:
    """How many answers to an image are let vote."""
    return int(read_json(folder / CARD).get("votes", 1))


class LateAdapter:
    """The innermost layer, opened when it is first asked; its listeners may change from one call to the next.

    Args:
        spec: of the teacher.
        open_adapter: opens it, given all three listeners.

    Attributes:
        sending: see `open_adapter`.
        answered: likewise.
        counted: likewise.
    """

    def __init__(self, spec: TeacherSpec, open_adapter: Callable[[Sending, Answered, Counted], Teacher]) -> None:
        self.spec, self._open = spec, open_adapter
        self.sending: Sending | None = None
        self.answered: Answered | None = None
        self.counted: Counted = ignored
        self._adapter: Teacher | None = None

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        if self._adapter is None:
            self._adapter = self._open(self._sending, self._answered, self._counted)
        return self._adapter.decide(images)

    def _sending(self, count: int) -> None:
        if self.sending:
            self.sending(count)

    def _answered(self, place: int, decisions: Int[Tensor, " n"]) -> None:
        if self.answered:
            self.answered(place, decisions)

    def _counted(self, name: str, count: int) -> None:
        self.counted(name, count)


def late_adapter(folder: Path, device: str = "cpu", link: Link | None = None) -> LateAdapter:
    """The adapter of the teacher in a folder, see `open_adapter`."""

    def opened(sending: Sending, answered: Answered, counted: Counted) -> Teacher:
        return open_adapter(folder, device, sending=sending, answered=answered, counted=counted, link=link)

    return LateAdapter(read_spec(folder), opened)


def stack_votes(
    adapter: LateAdapter, votes: int, costs: Costs, store: AnswerStore | None = None, account: Account | None = None
) -> Votes:
    """The layers from the adapter up to the votes, with answers kept where there are a store and an account."""
    adapter.counted = costs.count
    if store is None or account is None:
        adapter.sending, adapter.answered = costs.send, None
        return Votes(adapter, votes, costs)
    answers = Answers(adapter, store, account, costs)
    adapter.sending, adapter.answered = answers.sending, answers.answered
    return Votes(answers, votes, costs)


def open_teacher(
    folder: Path | str,
    device: str = "cpu",
    *,
    costs: Costs | None = None,
    link: Link | None = None,
    answers: AnswerStore | None = None,
) -> Budget:
    """The teacher as the pipeline sees it: adapter, answers where a store is given, votes, budget.

    Args:
        folder: with teacher.json.
        device: where a local model runs.
        costs: the record that all layers add to, with its limit.
        link: how a remote teacher is reached.
        answers: where every answer is kept, and found again (`db3.open_answers`).
    """
    folder, costs = Path(folder), Costs() if costs is None else costs
    adapter = late_adapter(folder, device, link)
    account = None if answers is None else account_of(folder)
    return Budget(stack_votes(adapter, votes_of(folder), costs, answers, account), costs=costs)
