"""A search by name: the sequence of asks that the parameters describe."""

from dataclasses import replace

import torch

from db3.search.ledger import Asks, Search
from db3.search.methods.bd import boundary_distance
from db3.search.methods.hopskipjump import hop_skip_jump
from db3.search.methods.mbd import minimal_boundary_distance
from db3.search.methods.sd import sample_distance
from db3.search.methods.semicircle import SemicircleSettings, semicircle
from db3.search.subspace import cells
from db3.settings.declare import shared
from db3.settings.samples import SamplesMethod
from db3.settings.search import Method, Query

__all__ = ["WITH_SURROGATES", "Method", "asks_of", "resolve_method"]

WITH_SURROGATES = ("guided", "auto")
"""Methods whose pairs share surrogates: they run in phases (`db3.search.methods.auto`)."""


def resolve_method(query: Query, samples: SamplesMethod) -> Method:
    """The search of samples that were made by this method: after rounds `auto` is none, since more rounds teach more
    for the same queries (docs/guides/zero-shot.md); none asks nothing.
    """
    method = Method(**shared(Method, query))
    if method.method == "none" or (method.method == "auto" and samples in ("priors", "augmented")):
        return replace(method, method="none", budget=0, checkpoints=())
    return method


def asks_of(search: Search, starts: torch.Tensor, method: Method) -> Asks:
    """SD knows its distances at once; BD bisects from there; the others go on where BD ends."""
    if method.method == "sd":
        sample_distance(search, starts)
        return
    yield from boundary_distance(search, starts, method.tolerance)
    directions = cells(search.pairs.shape, method.cell, method.seed)
    if method.method == "mbd":
        yield from minimal_boundary_distance(
            search,
            seed=method.seed,
            directions=method.directions,
            smoothing=method.smoothing,
            step=method.step,
            tolerance=method.tolerance,
            cell=method.cell,
        )
    if method.method == "hopskipjump":
        yield from hop_skip_jump(search, directions, method.directions, method.smoothing, method.tolerance)
    if method.method == "semicircle":
        settings = SemicircleSettings(probes=method.directions, radius=method.smoothing)
        yield from semicircle(search, directions, settings)
