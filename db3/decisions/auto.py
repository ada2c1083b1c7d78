"""The best sequence of searches, as measured: guided rounds first, then semicircles with the primers' subspace.

Guided rounds cost 2 to 4 queries each and gain most at first. When a primer agrees with itself at a boundary point, no
gradient moves it any more; then semicircle search with directions from the primers' own disagreement goes on.
Retraining on its probes is possible (`retrain_at`), but gained less than 0.5 % on MNIST for most of the computing time:
off by default.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from db3.decisions.driver import drive
from db3.decisions.guided import ROUNDS, Round, again, guided
from db3.decisions.primer import Answers, Primer
from db3.decisions.search import Asks, Search
from db3.decisions.semicircle import SemicircleSettings, semicircle
from db3.decisions.subspace import Directions, combinations, gradient_basis
from db3.teachers.base import Teacher

_REFRESH = Round(0.01, 4)


@dataclass(frozen=True)
class AutoSettings:
    """The sequence.

    Attributes:
        rounds: guided rounds at the start.
        retrain_at: queries per pair at which the primers learn again and a guided round follows.
        basis: components of the subspace.
        semicircle: numbers of that search.
        seed: of the directions.
    """

    rounds: tuple[Round, ...] = ROUNDS
    retrain_at: tuple[int, ...] = ()
    basis: int = 100
    semicircle: SemicircleSettings = field(default_factory=SemicircleSettings)
    seed: int = 0


def auto(
    teacher: Teacher,
    searches: Sequence[Search],
    starts: Sequence[Float[Tensor, "n d"]],
    primer: Primer,
    known: Answers,
    settings: AutoSettings = AutoSettings(),
    on_asked: Callable[[int], None] | None = None,
) -> None:
    """Spend the budget of every pair; see `guided` for the arguments and for what a result depends on."""
    guided(teacher, searches, starts, primer, known, settings.rounds, on_asked)
    budget = max((search.budget for search in searches), default=0)
    begins = [0] * len(searches)
    for until in [*(at for at in settings.retrain_at if at < budget), budget]:
        directions = combinations(gradient_basis(primer, known, settings.basis), settings.seed)

        def part(place: int, search: Search, until: int = until, directions: Directions = directions) -> Asks:
            begins[place] = yield from semicircle(
                search,
                directions,
                settings.semicircle,
                primer.margin if settings.semicircle.trust else None,
                until,
                begins[place],
            )

        drive((part(place, search) for place, search in enumerate(searches)), teacher, on_asked=on_asked)
        if until < budget:
            again(teacher, searches, primer, known, _REFRESH, on_asked)
