"""How boundary distances are searched."""

from typing import Annotated, Literal

from db3.errors import ConfigError
from db3.settings.declare import Doc, Ge, Gt, Le, Lt, Matches, settings
from db3.settings.samples import ROUNDED, SamplesMethod
from db3.settings.training import Arithmetic, OwnChanges

Architecture = Annotated[str, Matches(".+", "the name of an architecture")]
MethodName = Literal["none", "sd", "bd", "mbd", "hopskipjump", "semicircle", "guided", "auto"]


@settings
class Surrogates:
    """Networks trained on decisions already paid for; their gradients guide the search (methods guided, auto)."""

    architecture: Annotated[
        Architecture | tuple[Architecture, ...],
        Doc(
            "a name that db3.networks.build knows, or a list of such, which the networks take in turn; "
            "auto: by the images' shape"
        ),
    ] = "auto"
    arithmetic: Annotated[
        Arithmetic, Doc("exact: the same bytes on every machine; float32, bfloat16: on one kind of machine")
    ] = "exact"
    networks: Annotated[int, Ge(1), Le(64), Doc("averaged; two or more see where they may be wrong")] = 3
    steps: Annotated[int, Ge(1), Doc("optimiser steps of the first training")] = 600
    retrain: Annotated[int, Ge(1), Doc("steps of every later one at least; it goes on from the weights there are")] = (
        300
    )
    synthetic_queries: Annotated[
        float, Ge(0), Le(1000), Doc("queries per sample on images that surrogates make first")
    ] = 1.5
    changes: OwnChanges = OwnChanges()

    def rules(self) -> None:
        if not self.architecture:
            raise ConfigError("architecture is an empty list; expected a name or more, or auto")


@settings
class SearchSettings:
    """How decisions become boundary distances."""

    method: Annotated[MethodName, Doc("the search by name, see docs/guides/searches.md")] = "auto"
    budget: Annotated[int, Ge(0), Doc("queries per pair (sample, other class)")] = 7
    starts: Annotated[int, Ge(1), Doc("Q: start samples of the other class, nearest first")] = 1
    tolerance: Annotated[float, Gt(0), Lt(1), Doc("bisection ends at this share of the distance found")] = 0.01
    absolute: Annotated[float, Ge(0), Doc("or at this distance in pixels of [0, 1], whichever comes first")] = 0.0
    directions: Annotated[int, Ge(1), Doc("random directions per estimate (mbd, hopskipjump, semicircle)")] = 20
    smoothing: Annotated[float, Gt(0), Doc("probing radius, as a share of the distance")] = 0.1
    step: Annotated[float, Gt(0), Doc("mbd: first step size along the estimated gradient")] = 0.2
    cell: Annotated[int, Ge(1), Doc("random directions are constant over cells of this many pixels a side")] = 4
    checkpoints: Annotated[tuple[Annotated[int, Ge(0)], ...], Doc("queries per pair at which distances are kept")] = ()
    points: Annotated[int, Ge(0), Doc("boundary points kept of each sample, nearest classes first")] = 9
    queried_images: Annotated[int, Ge(0), Doc("images asked that are kept of each sample, with their decisions")] = 150
    seed: Annotated[int, Ge(0), Doc("of random directions, surrogates and the augmented baseline's images")] = 0

    @property
    def asked(self) -> int:
        """Queries that a pair may cost."""
        return 0 if self.method in ("none", "sd") else self.budget


@settings
class Query(SearchSettings):
    """What is asked after the samples: the boundary search, and the augmented baseline's images."""

    surrogate: Surrogates = Surrogates()
    variations: Annotated[
        float,
        Ge(0),
        Le(1),
        Doc("share of the student's queries that ask augmented images of the samples instead; 1: all, and no search"),
    ] = 0.0
    augmented: Annotated[
        Annotated[int, Ge(0)] | Literal["same"], Doc("queries of the augmented baseline; same: the search's; 0: none")
    ] = "same"

    def searches(self, samples: SamplesMethod) -> bool:
        """Whether the boundaries of samples that were made by this method are searched.

        Not by `auto` after rounds, since more rounds teach more for the same queries (docs/guides/zero-shot.md), nor
        where augmented images get all of the queries.
        """
        none = self.method == "none" or (self.method == "auto" and samples in ROUNDED)
        return not none and self.variations < 1

    def rules(self) -> None:
        if self.variations == 1 and not self.asked:
            raise ConfigError(
                f"variations is 1, but pairs of method {self.method} with budget {self.budget} have no query to give "
                "them: name a search and its budget, such as auto and 3"
            )
