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
        augmented: the augmented baseline's, if the boundary searches ask for all of theirs.
    """

    synthetic_queries: int
    pairs: int
    expected: int
    augmented: int

    @property
    def maximum(self) -> int:
        """Images that may be asked for."""
        return self.synthetic_queries + self.pairs + self.augmented


def plan_queries(
    settings: SearchSettings,
    samples: int,
    classes: int,
    surrogate: SurrogateSettings | None = None,
    augmented: int | Literal["same"] = 0,
) -> QueryPlan:
    """What `search_pairs` may ask for.

    Args:
        settings: how distances are searched.
        samples: how many are searched.
        classes: K; each sample has K − 1 pairs.
        surrogate: of `guided` and `auto`; None: the default.
        augmented: images of the augmented baseline; `same`: as many as the searches ask.
    """
    pairs, budget = samples * (classes - 1), settings.asked
    guided = settings.method in WITH_SURROGATES and budget
    synthetic = (surrogate or SurrogateSettings()).synthetic(samples) if guided else 0
    each = min(budget, _closing(settings.tolerance) * settings.starts) if settings.method == "bd" else budget
    same = synthetic + pairs * budget
    return QueryPlan(synthetic, pairs * budget, pairs * each, same if augmented == "same" else augmented)


def _closing(tolerance: float) -> int:
    """Queries that bisect a bracket from its whole length to the tolerance, of a boundary half-way."""
    return ceil(log2(2 / tolerance))
