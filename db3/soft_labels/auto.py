"""What to do with the queries that a boundary search has paid for: the rule behind `soft_labels: auto`.

Chosen by agreement with the teacher on 6,000 decided images that are no samples, never by the test split; in per cent
(1,000 MNIST samples, LeNet5 to LeNet5-Half, 1,440 steps of 128 images, two to five seeds, each ± 0.1 or so):

| search | queries per sample | margin labels | decisions and boundary points | decisions and answers |
|---|---|---|---|---|
| BD to the nearest start | 64 | 97.1 | 97.5 | **98.2** |
| guided | 135 | 97.9 | 98.1 | **98.8** |
| BD to 16 starts, loose brackets | 145 | 97.3 | | **98.6** |
| Sign-OPT | 306 | 97.1 | | **97.9** |

Bare decisions reach 94.0, logit KD 98.4. So every image that a search asked is worth more as a decided sample than
all that distances tell; boundary points come next. Shares of 0.9 and 0.97 of a batch were alike, 0.5 a little less;
boundary points beside
answers (98.4 instead of 98.6) and margin labels beside answers (98.2) took away. Boundary points beside bare decisions
are learnt as halves: smoothing them by 0.1, or giving them 0.75 of a batch, changed nothing, and margin labels of one
scale beside them were no better (98.0). Labels alone are best at gap 2 and temperature 8 (97.95; gap 1 97.85, gap 4
97.8, gap 4 at temperature 2 97.8): at a high temperature the divergence compares logits, not only the few large
probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from db3.errors import unknown_name
from db3.settings.soft_labels import SoftLabelSettings, require_distances

Auto = Literal["auto"]


@dataclass(frozen=True)
class Recipe:
    """How boundary searches become a transfer set.

    Attributes:
        mapping: of the samples' own labels; `hard`: their bare decisions.
        gap: of the mapping, see `margin_beta`.
        temperature: the student's in the divergence from these labels, and from those of the boundary points.
        boundary_points: share of each batch that are boundary points; 0: none.
        smoothing: of their labels, see `boundary_point_labels`.
        queried_images: share of each batch that are images which the search asked, with their decisions; 0: none.
    """

    mapping: Literal["hard", "margin", "inverse"]
    gap: float
    temperature: float
    boundary_points: float
    smoothing: float
    queried_images: float

    def __post_init__(self) -> None:
        _check_mapping(self.mapping, ("hard", "margin", "inverse"))


def given_scale(settings: SoftLabelSettings, mapping: str) -> float | None:
    """The scale given for a mapping; None: by the recipe's gap."""
    given = {"margin": settings.beta, "inverse": settings.temperature}.get(mapping, "auto")
    return None if given == "auto" else float(given)


def choose_recipe(
    settings: SoftLabelSettings,
    queries_per_pair: float,
    *,
    points: bool = True,
    answers: bool = True,
    distances: bool = True,
    temperature: float | Auto = "auto",
) -> Recipe:
    """The recipe as given, and by the measured rule (`recipe`) where a value is `auto`.

    Args:
        settings: what is given.
        queries_per_pair: as of `recipe`, like `points`, `answers` and `distances`.
        points: see there.
        answers: see there.
        distances: see there.
        temperature: the student's in the divergence.

    Raises:
        ConfigError: a mapping of distances where nothing was searched.
    """
    require_distances(settings, distances)
    best = recipe(queries_per_pair, points, answers, distances)
    # Of another mapping than the rule's, its companions do not apply.
    if settings.mapping != "auto" and settings.mapping != best.mapping:  # noqa: PLR1714 - mypy narrows by it
        best = alone(settings.mapping)
    given: dict[str, float | Auto] = {
        "gap": settings.gap,
        "temperature": temperature,
        "boundary_points": settings.boundary_points,
        "smoothing": settings.boundary_points_smoothing,
        "queried_images": settings.queried_images,
    }
    numbers: dict[str, Any] = {name: float(value) for name, value in given.items() if value != "auto"}
    return replace(best, **numbers)


def recipe(queries_per_pair: float, points: bool = True, answers: bool = True, distances: bool = True) -> Recipe:
    """The use that measured best for such a search: answers, else boundary points, else margin labels, else bare
    decisions.

    Args:
        queries_per_pair: paid on average.
        points: whether the boundary points are there.
        answers: whether the images asked are there.
        distances: whether boundary distances are there: of SD they are, for nothing.
    """
    if answers and queries_per_pair > 0:
        return Recipe("hard", 2.0, 1.0, 0.0, 0.0, 0.9)
    if points and queries_per_pair > 0:
        return Recipe("hard", 2.0, 1.0, 0.5, 0.0, 0.0)
    return alone("margin" if distances else "hard")


def alone(mapping: Literal["hard", "margin", "inverse"]) -> Recipe:
    """Labels of the samples by one mapping, and nothing beside them."""
    return Recipe(mapping, 2.0, 8.0 if mapping == "margin" else 1.0, 0.0, 0.0, 0.0)


def _check_mapping(name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise unknown_name("mapping", name, known)
