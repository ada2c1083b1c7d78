"""One entry for both mappings: the scale given, or chosen by the documented rule."""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float32, Int64

from db3.errors import unknown_name
from db3.soft_labels.inverse import inverse, inverse_temperature
from db3.soft_labels.margin import margin, margin_beta

Mapping = Literal["margin", "inverse"]


def soft_labels(
    mapping: Mapping,
    distances: Float[np.ndarray, "n k"],
    decisions: Int64[np.ndarray, " n"],
    scale: float | None = None,
    gap: float = 2.0,
) -> tuple[Float32[np.ndarray, "n k"], float]:
    """Soft labels and the scale used: β of `margin`, τ of `inverse`.

    Args:
        mapping: which formula.
        distances: d_k, +inf where class k was not reached.
        decisions: m.
        scale: β or τ; None chooses it so that the mean log-odds between decision and another class is `gap`.
        gap: that mean.

    Raises:
        ConfigError: an unknown mapping.
    """
    if mapping not in get_args(Mapping):
        raise unknown_name("mapping", mapping, get_args(Mapping))
    if mapping == "margin":
        scale = margin_beta(distances, decisions, gap) if scale is None else scale
        return margin(distances, decisions, scale), scale
    scale = inverse_temperature(distances, decisions, gap) if scale is None else scale
    return inverse(distances, decisions, scale), scale
