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
from db3.settings.samples import ROUNDED, SamplesMethod
from db3.settings.search import Query, SearchSettings

__all__ = ["WITH_SURROGATES", "SearchSettings", "asks_of", "resolve_search"]

WITH_SURROGATES = ("guided", "auto")
"""Methods whose pairs share surrogates: they run in phases (`db3.search.methods.auto`)."""


def resolve_search(query: Query, samples: SamplesMethod) -> SearchSettings:
    """The search of samples that were made by this method: after rounds `auto` is none, since more rounds teach more
    for the same queries (docs/guides/zero-shot.md); none asks nothing. Where augmented images get all of the queries,
    none is searched either, and the budget says how many these are.
    """
    settings = SearchSettings(**shared(SearchSettings, query))
    if query.variations == 1:
        return replace(settings, method="none", checkpoints=())
    if settings.method == "none" or (settings.method == "auto" and samples in ROUNDED):
        return replace(settings, method="none", budget=0, checkpoints=())
    return settings


def asks_of(search: Search, starts: torch.Tensor, settings: SearchSettings) -> Asks:
    """SD knows its distances at once; BD bisects from there; the others go on where BD ends."""
    if settings.method == "sd":
        sample_distance(search, starts)
        return
    yield from boundary_distance(search, starts, settings.tolerance)
    directions = cells(search.pairs.shape, settings.cell, settings.seed)
    if settings.method == "mbd":
        yield from minimal_boundary_distance(
            search,
            seed=settings.seed,
            directions=settings.directions,
            smoothing=settings.smoothing,
            step=settings.step,
            tolerance=settings.tolerance,
            cell=settings.cell,
        )
    if settings.method == "hopskipjump":
        yield from hop_skip_jump(search, directions, settings.directions, settings.smoothing, settings.tolerance)
    if settings.method == "semicircle":
        circles = SemicircleSettings(probes=settings.directions, radius=settings.smoothing)
        yield from semicircle(search, directions, circles)
