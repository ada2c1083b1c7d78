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
from db3.settings.search import Query, SearchSettings

__all__ = ["WITH_SURROGATES", "SearchSettings", "asks_of", "resolve_search"]

WITH_SURROGATES = ("guided", "auto")
"""Methods whose pairs share surrogates: they run in phases (`db3.search.methods.auto`)."""


def resolve_search(query: Query, samples: SamplesMethod) -> SearchSettings:
    """The search of samples that were made by this method: none asks nothing (`Query.searches`). Where augmented images
    get all of the queries, the budget says how many these are.
    """
    settings = SearchSettings(**shared(SearchSettings, query))
    if query.searches(samples):
        return settings
    return replace(settings, method="none", budget=settings.budget if query.variations == 1 else 0, checkpoints=())


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
