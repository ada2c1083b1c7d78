"""The boundary search: how a teacher's top-1 answers become distances to its decision boundaries."""

from db3.search.catalogue import SearchSettings
from db3.search.distances import DistanceParts, Distances
from db3.search.pairs import replay_distances, search_distances, search_pairs
from db3.search.plan import QueryPlan, plan_queries
from db3.types import TransferImages

__all__ = [
    "DistanceParts",
    "Distances",
    "QueryPlan",
    "SearchSettings",
    "TransferImages",
    "plan_queries",
    "replay_distances",
    "search_distances",
    "search_pairs",
]
