"""A search by name: the sequence of asks that the parameters describe."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from db3.errors import unknown_name
from db3.search.ledger import Asks, Search
from db3.search.methods.bd import boundary_distance
from db3.search.methods.hopskipjump import hop_skip_jump
from db3.search.methods.mbd import minimal_boundary_distance
from db3.search.methods.sd import sample_distance
from db3.search.methods.semicircle import SemicircleSettings, semicircle
from db3.search.subspace import cells

MethodName = Literal["none", "sd", "bd", "mbd", "hopskipjump", "semicircle", "guided", "auto"]
WITH_SURROGATES = ("guided", "auto")
"""Methods whose pairs share surrogates: they run in phases (`db3.search.methods.auto`)."""


@dataclass(frozen=True)
class Method:
    """How distances are searched; the fields are those of the parameter group `query`."""

    name: MethodName
    budget: int = 100
    starts: int = 1
    tolerance: float = 0.01
    absolute: float = 0.0
    directions: int = 20
    smoothing: float = 0.1
    step: float = 0.2
    cell: int = 1
    checkpoints: tuple[int, ...] = ()
    points: int = 0
    queried_images: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in get_args(MethodName):
            raise unknown_name("method", self.name, get_args(MethodName))


def asks_of(search: Search, starts: torch.Tensor, method: Method) -> Asks:
    """SD knows its distances at once; BD bisects from there; the others go on where BD ends."""
    if method.name == "sd":
        sample_distance(search, starts)
        return
    yield from boundary_distance(search, starts, method.tolerance)
    directions = cells(search.pairs.shape, method.cell, method.seed)
    if method.name == "mbd":
        yield from minimal_boundary_distance(
            search,
            seed=method.seed,
            directions=method.directions,
            smoothing=method.smoothing,
            step=method.step,
            tolerance=method.tolerance,
            cell=method.cell,
        )
    if method.name == "hopskipjump":
        yield from hop_skip_jump(search, directions, method.directions, method.smoothing, method.tolerance)
    if method.name == "semicircle":
        settings = SemicircleSettings(probes=method.directions, radius=method.smoothing)
        yield from semicircle(search, directions, settings)
