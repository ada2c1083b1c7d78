"""The images of the transfer set: real ones, or ones that are made."""

from typing import Annotated, Literal

from db3.errors import ConfigError
from db3.settings.declare import Doc, Ge, Gt, Le, settings
from db3.settings.training import Arithmetic, Portion

SamplesMethod = Literal["real", "priors", "augmented", "zsdb3"]
ROUNDED: tuple[SamplesMethod, ...] = ("priors", "augmented")
"""Methods that choose samples round by round, within a budget and by surrogates."""


@settings
class Rounds:
    """How made samples are chosen, round by round (methods priors, augmented); see db3.zero_shot.rounds."""

    first: Annotated[float, Gt(0), Le(1), Doc("share of the budget asked before a surrogate is trained")] = 0.15
    count: Annotated[int, Ge(1), Doc("rounds that share the rest")] = 10
    pool: Annotated[int, Ge(1), Doc("images proposed for each one asked")] = 6
    fresh: Annotated[
        Portion | Literal["auto"],
        Doc("share of a round that are prior images; the rest: variations; auto: by the number of real images"),
    ] = "auto"
    architecture: Annotated[str, Doc("of the surrogate; auto: by the images' shape")] = "auto"
    steps: Annotated[int, Ge(1), Doc("the surrogate's optimiser steps a round, from the last round's weights")] = 150
    arithmetic: Annotated[
        Arithmetic, Doc("of the surrogate; all but exact: the same bytes on this kind of machine only, but faster")
    ] = "exact"


@settings
class MoveSettings:
    """How pseudo samples move away from the boundary; see db3.zero_shot.moves."""

    iterations: Annotated[int, Ge(0), Doc("moves away from the boundary")] = 40
    queries: Annotated[
        Annotated[int, Ge(1)] | None, Doc("of each boundary search at most; null: what the budget allows")
    ] = None
    step: Annotated[float, Gt(0), Doc("L2 length of a move, pixels in [0, 1]")] = 0.5


@settings
class PseudoSettings(MoveSettings):
    """How pseudo samples are made of noise (method zsdb3); see db3.zero_shot.zsdb3."""

    every: Annotated[int, Ge(1), Doc("iterations from one picture in the report to the next")] = 10
    priors: Annotated[bool, Doc("look for classes that noise does not reach among prior images")] = True


@settings
class SampleSettings:
    """The images of the transfer set: real ones, or ones that are made (priors: without any data)."""

    method: Annotated[SamplesMethod, Doc("real: of the training split; augmented: those and made ones")] = "real"
    count: Annotated[
        Annotated[int, Ge(2)] | None, Doc("images drawn from the training split; null: all; priors: none")
    ] = 400
    budget: Annotated[Annotated[int, Ge(2)] | None, Doc("queries of samples that are made; null: method real")] = None
    rounds: Rounds = Rounds()
    zsdb3: PseudoSettings = PseudoSettings()
    missing_classes: Annotated[Literal["error", "allow"], Doc("when the teacher never decides a class")] = "error"
    recheck: Annotated[int, Ge(0), Doc("samples asked a second time, to measure how often the teacher flips")] = 0
    seed: Annotated[int, Ge(0), Doc("of the draw, of made images and of their surrogates")] = 0

    def rules(self) -> None:
        if self.method != "real" and self.budget is None:
            raise ConfigError(f"method is {self.method}, which needs `budget`, the number of queries samples may cost")
        if self.method == "zsdb3" and self.count is None:
            raise ConfigError("method is zsdb3, which needs `count`, the number of pseudo samples")
