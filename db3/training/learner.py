"""What the training loop asks of an arithmetic: one step on a batch, and what the network decides by then."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class Targets:
    """What one part of a batch shall learn; the parts lie in the batch one after the other.

    Attributes:
        decisions: of this process's images of the part, maybe none.
        soft: their soft labels, or None.
        whole: images of the part over all processes.
        ce, kl, temperature: of the loss.
    """

    decisions: Int64[Tensor, " n"]
    soft: Float[Tensor, "n k"] | None
    whole: int
    ce: float
    kl: float
    temperature: float

    def __len__(self) -> int:
        return len(self.decisions)


Aims = Sequence[tuple[float, Sequence[Targets]]]
"""What a batch shall learn, with the weights of each; the weights sum to 1. A mixed batch has two: see `mixed_loss`."""


@runtime_checkable
class Learner(Protocol):
    """A network while it is trained in some arithmetic."""

    def step(self, images: Float[Tensor, "n c h w"], aims: Aims, step: int, lr: float) -> Tensor:
        """One optimiser step.

        Args:
            images: float32 in [0, 1]: this process's.
            aims: targets of the parts that these images are made of.
            step: from 0.
            lr: learning rate.

        Returns:
            Mean loss over the batch, or this process's share of it: see `whole_losses`.
        """
        ...

    def whole_losses(self, losses: Float[Tensor, " s"]) -> Float[Tensor, " s"]:
        """The whole batches' losses, of those that `step` returned."""
        ...

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int64[Tensor, " n"]:
        """Top-1 classes by the weights there are."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """A copy of all weights and statistics."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that later steps depend on, by name; to be kept before the next step, which changes it."""
        ...

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        ...

    def finish(self, weights: dict[str, Tensor] | None) -> None:
        """Put these weights, else those there are, into the network that is trained; it is in evaluation mode then."""
        ...
