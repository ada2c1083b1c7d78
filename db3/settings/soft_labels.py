"""How boundary searches become a transfer set."""

from typing import Annotated, Literal

from db3.errors import ConfigError
from db3.settings.declare import Doc, settings
from db3.settings.training import Positive, Share


@settings
class SoftLabelSettings:
    """How boundary searches become a transfer set; `auto` takes what measured best for such a search."""

    mapping: Annotated[
        Literal["margin", "inverse", "hard", "auto"], Doc("of the samples' own labels; hard: their bare decisions")
    ] = "auto"
    gap: Annotated[Positive | Literal["auto"], Doc("mean log-odds between the decision and another class")] = "auto"
    beta: Annotated[Positive | Literal["auto"], Doc("margin: p = softmax(-beta d); auto: from gap")] = "auto"
    temperature: Annotated[Positive | Literal["auto"], Doc("inverse: p = softmax(z / temperature)")] = "auto"
    boundary_points: Annotated[Share | Literal["auto"], Doc("share of each batch: boundary points, half m, half k")] = (
        "auto"
    )
    boundary_points_smoothing: Annotated[
        Share | Literal["auto"], Doc("of the boundary points' labels, spread over all classes")
    ] = "auto"
    queried_images: Annotated[Share | Literal["auto"], Doc("share of each batch: images asked, as decided")] = "auto"


def require_distances(settings: SoftLabelSettings, distances: bool) -> None:
    """Refuse a mapping of boundary distances where nothing is searched.

    Args:
        settings: name the mapping.
        distances: whether there are boundary distances.

    Raises:
        ConfigError: there are none, and the mapping is neither `auto` nor `hard`.
    """
    if not distances and settings.mapping not in ("auto", "hard"):
        raise ConfigError(
            f"soft_labels.mapping is {settings.mapping}, but nothing was searched, so there are no distances: "
            "take soft_labels=auto, or another query"
        )
