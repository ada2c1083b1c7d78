"""How many images a search may ask for, and how many it should, from its parameters alone."""

from dataclasses import dataclass
from math import ceil, log2

from db3.search.method import resolve_method
from flows.config import Config


@dataclass(frozen=True)
class Plan:
    """Images that query_decisions asks for.

    Attributes:
        synthetic queries: made by the first surrogates.
        pairs: the boundary searches', if each pair spends its budget.
        expected: the boundary searches', if each pair's brackets close as they should.
        augmented: the baseline's, if the boundary searches ask for all of theirs.
    """

    synthetic_queries: int
    pairs: int
    expected: int
    augmented: int

    @property
    def maximum(self) -> int:
        """Images that may be asked for."""
        return self.synthetic_queries + self.pairs + self.augmented


def planned(config: Config, count: int, classes: int) -> Plan:
    """What the group `query` says for `count` samples of `classes` classes."""
    query = config.query
    name = resolve_method(query, config.samples.method).method
    surrogate_search, budget = name in ("guided", "auto"), 0 if name in ("none", "sd") else query.budget
    pairs = count * (classes - 1)
    synthetic_queries = round(query.surrogate.synthetic_queries * count) if surrogate_search and budget else 0
    each = min(budget, _closing(query.tolerance) * query.starts) if name == "bd" else budget
    same = synthetic_queries + pairs * budget
    return Plan(synthetic_queries, pairs * budget, pairs * each, same if query.augmented == "same" else query.augmented)


def _closing(tolerance: float) -> int:
    """Queries that bisect a bracket from its whole length to the tolerance, of a boundary half-way."""
    return ceil(log2(2 / tolerance))
