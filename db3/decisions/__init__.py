"""Decisions: how a teacher's top-1 answers become distances to its decision boundaries."""

from db3.decisions.distances import Distances, Method, TransferImages, replay_distances, search_distances

__all__ = ["Distances", "Method", "TransferImages", "replay_distances", "search_distances"]
