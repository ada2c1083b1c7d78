"""Decisions: how a teacher's top-1 answers become distances to its decision boundaries."""

from db3.decisions.measure import Distances, Method, TransferImages, measure, remeasure

__all__ = ["Distances", "Method", "TransferImages", "measure", "remeasure"]
