"""Soft labels: class distributions built from a sample's boundary distances."""

from db3.settings.soft_labels import SoftLabelSettings
from db3.soft_labels.auto import Recipe, alone, choose_recipe, given_scale, recipe
from db3.soft_labels.boundary_points import boundary_point_labels
from db3.soft_labels.build import soft_labels
from db3.soft_labels.inverse import inverse, inverse_temperature
from db3.soft_labels.margin import margin, margin_beta
from db3.soft_labels.transfer_set import (
    BoundaryPoints,
    QueriedImages,
    SearchedSamples,
    TransferSet,
    add_variations,
    build_transfer_set,
    label_samples,
    transfer_set_at,
)

__all__ = [
    "BoundaryPoints",
    "QueriedImages",
    "Recipe",
    "SearchedSamples",
    "SoftLabelSettings",
    "TransferSet",
    "add_variations",
    "alone",
    "boundary_point_labels",
    "build_transfer_set",
    "choose_recipe",
    "given_scale",
    "inverse",
    "inverse_temperature",
    "label_samples",
    "margin",
    "margin_beta",
    "recipe",
    "soft_labels",
    "transfer_set_at",
]
