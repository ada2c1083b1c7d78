"""How many images a search may ask for, and how many it should, from its parameters alone."""

from dataclasses import dataclass
from math import ceil, log2
from typing import Literal

from db3.search.catalogue import WITH_SURROGATES, SearchSettings
from db3.search.surrogate.surrogate import SurrogateSettings


@dataclass(frozen=True)
class QueryPlan:
    """Images that searches ask for.

    Attributes:
        synthetic_queries: made by the first surrogates.
        pairs: the boundary searches', if each pair spends its budget.
        expected: the boundary searches', if each pair's brackets close as they should.
        variations: augmented images for the student, if the boundary searches ask for all of theirs.
        augmented: more of these for the augmented baseline, likewise.
        expected_variations: of `variations`, if the boundary searches ask for what is expected.
        expected_augmented: of `augmented`, likewise.
    """

    synthetic_queries: int
    pairs: int
    expected: int
    variations: int
    augmented: int
    expected_variations: int
    expected_augmented: int

    @property
    def maximum(self) -> int:
        """Images that may be asked for."""
        return self.synthetic_queries + self.pairs + self.variations + self.augmented


def plan_queries(
    settings: SearchSettings,
    samples: int,
    classes: int,
    surrogate: SurrogateSettings | None = None,
    augmented: int | Literal["same"] = 0,
    variations: float = 0.0,
) -> QueryPlan:
    """What `search_pairs` may ask for.

    Args:
        settings: how distances are searched, see `resolve_search`.
        samples: how many are searched.
        classes: K; each sample has K − 1 pairs.
        surrogate: of `guided` and `auto`; None: the default.
        augmented: images of the augmented baseline; `same`: as many as the student's queries.
        variations: share of the student's queries that ask augmented images.
    """
    pairs, budget = samples * (classes - 1), settings.asked
    guided = settings.method in WITH_SURROGATES and budget
    synthetic = (surrogate or SurrogateSettings()).synthetic(samples) if guided else 0
    each = min(budget, _closing(settings.tolerance) * settings.starts) if settings.method == "bd" else budget
    searched = [synthetic + pairs * asked for asked in (budget, each)]
    varied = [count_variations(variations, count, pairs * settings.budget) for count in searched]
    more = [count_augmented(augmented, *counts) for counts in zip(searched, varied, strict=True)]
    return QueryPlan(synthetic, pairs * budget, pairs * each, varied[0], more[0], varied[1], more[1])


def count_variations(share: float, searched: int, whole: int) -> int:
    """Augmented images that the student's queries are to hold, beside those of the searches.

    Args:
        share: of all of the student's queries.
        searched: queries of the searches.
        whole: queries that the budgets of all pairs make: with a share of 1 these images get them.
    """
    return whole if share == 1 else round(searched * share / (1 - share))


def count_augmented(wanted: int | Literal["same"], searched: int, variations: int) -> int:
    """Augmented images to ask for the baseline, beyond the student's, which are the first of its own.

    Args:
        wanted: by the baseline in all; `same`: as many as the student's queries.
        searched: queries of the searches.
        variations: augmented images of the student.
    """
    return searched if wanted == "same" else max(0, wanted - variations)


def _closing(tolerance: float) -> int:
    """Queries that bisect a bracket from its whole length to the tolerance, of a boundary half-way."""
    return ceil(log2(2 / tolerance))
