"""A local teacher on disk: teacher.json beside teacher.safetensors, and the ways to open it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from db3.digest import digest_file, digest_json
from db3.errors import DataError
from db3.files import read_json
from db3.networks import build, load_weights
from db3.teachers.allowance import Paying
from db3.teachers.base import Teacher, TeacherSpec
from db3.teachers.batching import Batching
from db3.teachers.majority import Majority
from db3.teachers.meter import Meter
from db3.teachers.network import NetworkTeacher
from db3.teachers.quantised import Quantised

CARD, WEIGHTS = "teacher.json", "teacher.safetensors"
_DECIDING = ("architecture", "input_shape", "bounds", "classes", "call_batch")
# Part of the identity where they are not these.
_OPTIONAL: dict[str, Any] = {"quantise": "none", "votes": 1, "memory_format": "channels_last"}
_LEVELS = {"none": 0, "uint8": 256}


def identity(card: dict[str, Any], weights: str) -> str:
    """Digest of all that decides an answer: architecture, shape, bounds, classes, call shape and the weights."""
    special = {key: card[key] for key, usual in _OPTIONAL.items() if card.get(key, usual) != usual}
    return digest_json({**{key: card[key] for key in _DECIDING}, **special, "weights": weights})


def read_card(folder: Path) -> dict[str, Any]:
    """teacher.json, checked against the weights beside it.

    Raises:
        DataError: a file is missing, the card is incomplete, or the weights are not those it was written for.
    """
    card: dict[str, Any] = read_json(folder / CARD)
    absent = [key for key in (*_DECIDING, "identity") if key not in card]
    if absent:
        raise DataError(f"{folder / CARD} has no {', '.join(absent)}; run the stage fetch_teacher again")
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise DataError(f"{weights} is missing; run the stage fetch_teacher again")
    found = identity(card, digest_file(weights))
    if found != card["identity"]:
        raise DataError(
            f"{weights} gives the teacher identity {found[:12]}, but {CARD} says {card['identity'][:12]}: "
            "the weights were replaced; run the stage fetch_teacher again"
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
        levels=_LEVELS[card.get("quantise", "none")],
    )


def open_network(folder: Path) -> nn.Module:
    """The teacher's network with its scores: for its own training and the white-box baseline, never for a search."""
    card = read_card(folder)
    channels, height, width = card["input_shape"]
    network = build(card["architecture"], (channels, height, width), card["classes"])
    load_weights(network, folder / WEIGHTS)
    return network.eval()


def open_teacher(folder: Path, device: str = "cpu", sending: Callable[[int], None] | None = None) -> Meter:
    """The teacher as the pipeline sees it: `Meter → Majority → Quantised → Paying → Batching → network`.

    `Quantised` and `Majority` only where the card asks for them, `Paying` where `sending` is to be told of every
    image before it is sent (`db3.teachers.allowance`).
    """
    card = read_card(folder)
    memory_format = card.get("memory_format", _OPTIONAL["memory_format"])
    teacher: Teacher = Batching(NetworkTeacher(open_network(folder), read_spec(folder), device, memory_format))
    if sending:
        teacher = Paying(teacher, sending)
    if teacher.spec.levels:
        teacher = Quantised(teacher)
    votes = card.get("votes", 1)
    return Meter(Majority(teacher, votes) if votes > 1 else teacher)
