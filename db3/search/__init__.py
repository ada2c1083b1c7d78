"""Decisions: how a teacher's top-1 answers become distances to its decision boundaries."""

from db3.search.blocks import Distances
from db3.search.distances import replay_distances, search_distances
from db3.search.method import Method
from db3.types import TransferImages

__all__ = ["Distances", "Method", "TransferImages", "replay_distances", "search_distances"]
