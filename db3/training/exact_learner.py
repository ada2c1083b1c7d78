"""Training in exact arithmetic: the same bytes on every machine, with any number of threads and processes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from db3.arithmetic import (
    ALONE,
    AdamW,
    GroupReduce,
    Reduce,
    drawing,
    float32_weights,
    reducing,
    round_weights,
    student_loss,
    to_exact,
)
from db3.errors import ConfigError
from db3.settings.training import Schedule
from db3.training.learner import Aims, Targets
from db3.training.mixing import mixed_loss
from db3.training.ranks import Rank


def require_float64(device: str) -> None:
    """Raise ConfigError for a device that exact arithmetic cannot use."""
    if device.startswith("mps"):
        raise ConfigError(f"arithmetic exact needs float64, which the device {device} has not: take cpu, or float32")


class ExactLearner:
    """See `Learner`; a twin of the network is trained, and its weights end in the network, rounded to float32.

    Args:
        network: float32, of layers that have an exact twin.
        seed: of dropout.
        settings: of the training.
        device: where to compute.
        rank: which of the processes this is.

    Raises:
        ConfigError: a layer without a twin.
    """

    def __init__(self, network: nn.Module, seed: int, settings: Schedule, device: str, rank: Rank) -> None:
        self._network = network
        self._twin = to_exact(network).to(device).train()
        self._optimiser = AdamW(self._twin.parameters(), weight_decay=settings.weight_decay)
        self._seed, self._batch, self._rank = seed, settings.batch, rank
        mine = rank.rows(self._batch)
        self._first, self._reduce = mine.start, self._over(mine.stop - mine.start, self._batch)

    def step(self, images: Tensor, aims: Aims, step: int, lr: float) -> Tensor:
        self._optimiser.zero_grad()
        with reducing(self._reduce), drawing(self._seed, step, self._first):
            logits = self._twin(images.double())
        loss = mixed_loss(aims, lambda targets: self._loss(logits, targets))
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step(lr)
        return loss.detach()

    def _loss(self, logits: Tensor, targets: Sequence[Targets]) -> Tensor:
        """Sum over the batch's images divided by their number; the value is the whole batch's in each process."""
        total = None
        for part, answers in zip(targets, torch.split(logits, [len(part) for part in targets]), strict=True):
            with reducing(self._over(len(part), part.whole)):
                loss = student_loss(
                    answers,
                    part.decisions,
                    part.soft,
                    ce=part.ce,
                    kl=part.kl,
                    temperature=part.temperature,
                    total=self._batch,
                )
            total = loss if total is None else total + loss
        if total is None:
            raise ValueError("a batch has no part; expected the originals at least")
        return total

    def _over(self, own: int, total: int) -> Reduce:
        return ALONE if self._rank.count == 1 else GroupReduce(own, total)

    def whole_losses(self, losses: Tensor) -> Tensor:
        return losses

    def decide(self, images: Tensor) -> Tensor:
        self._twin.eval()
        with torch.no_grad():
            decided: Tensor = self._twin(images).argmax(dim=1)
        self._twin.train()
        return decided

    def weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self._twin.state_dict().items()}

    def state(self) -> dict[str, Tensor]:
        return {f"network.{name}": tensor for name, tensor in self._twin.state_dict().items()} | self._optimiser.state()

    def restore(self, state: dict[str, Tensor]) -> None:
        own = {name.removeprefix("network."): each for name, each in state.items() if name.startswith("network.")}
        self._twin.load_state_dict(own)
        self._optimiser.restore(state)

    def finish(self, weights: dict[str, Tensor] | None) -> None:
        if weights is not None:
            self._twin.load_state_dict(weights)
        round_weights(self._twin)
        self._network.load_state_dict(float32_weights(self._twin))
        self._network.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
