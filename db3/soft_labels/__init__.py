"""Soft labels: class distributions built from a sample's boundary distances."""

from db3.soft_labels.auto import Recipe, alone, recipe
from db3.soft_labels.build import soft_labels
from db3.soft_labels.inverse import inverse, inverse_temperature
from db3.soft_labels.margin import margin, margin_beta
from db3.soft_labels.ties import tie_labels

__all__ = [
    "Recipe",
    "alone",
    "inverse",
    "inverse_temperature",
    "margin",
    "margin_beta",
    "recipe",
    "soft_labels",
    "tie_labels",
]
