"""Soft labels: class distributions built from a sample's boundary distances."""

from db3.soft_labels.auto import Recipe, alone, recipe
from db3.soft_labels.boundary_points import boundary_point_labels
from db3.soft_labels.build import soft_labels
from db3.soft_labels.inverse import inverse, inverse_temperature
from db3.soft_labels.margin import margin, margin_beta

__all__ = [
    "Recipe",
    "alone",
    "boundary_point_labels",
    "inverse",
    "inverse_temperature",
    "margin",
    "margin_beta",
    "recipe",
    "soft_labels",
]
