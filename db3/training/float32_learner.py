"""Training in float32 or bfloat16: as fast as the machine's kernels, and the same bytes on the same kind of it only."""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from db3.settings.training import Schedule
from db3.training.batch_norm import WholeBatchNorm
from db3.training.float32_optimiser import Float32Optimiser
from db3.training.learner import Aims, Targets
from db3.training.losses import student_loss
from db3.training.mixing import mixed_loss
from db3.training.random_layers import KeyedRandomness
from db3.training.ranks import Rank


class Float32Learner:
    """See `Learner`; the network itself is trained.

    With `arithmetic: bfloat16` convolutions and matrix products take numbers of 16 bits (torch's autocast), forwards
    and backwards; weights, statistics, the loss and all that the optimiser does stay float32, as does `decide`.

    Args:
        network: float32.
        seed: of dropout.
        settings: of the training.
        device: where to compute.
        rank: which of the processes this is.
    """

    def __init__(self, network: nn.Module, seed: int, settings: Schedule, device: str, rank: Rank) -> None:
        network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self._network, self._batch, self._rank = network, settings.batch, rank
        self._joined = rank.joined(network)
        self._optimiser = Float32Optimiser(network, settings)
        mine = rank.rows(settings.batch)
        self._randomness = KeyedRandomness(seed, mine)
        self._norms = nullcontext() if mine.all else WholeBatchNorm(mine)
        self._short = torch.autocast(
            torch.device(device).type, torch.bfloat16, enabled=settings.arithmetic == "bfloat16"
        )

    def step(self, images: Tensor, aims: Aims, step: int, lr: float) -> Tensor:
        self._optimiser.zero_grad()
        with self._randomness, self._norms, self._short:
            logits = self._joined(images).float()
        loss = mixed_loss(aims, lambda targets: self._loss(logits, targets))
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step(step, lr)
        return loss.detach()

    def _loss(self, logits: Tensor, targets: Sequence[Targets]) -> Tensor:
        """Mean over the batch: each part's own mean, times its share of the batch; this process's share of that."""
        losses = []
        for part, answers in zip(targets, torch.split(logits, [len(part) for part in targets]), strict=True):
            if not len(part):
                continue
            loss = student_loss(
                answers, part.decisions, part.soft, ce=part.ce, kl=part.kl, temperature=part.temperature
            )
            losses.append(loss * (len(part) / self._batch))
        return torch.stack(losses).sum()

    def whole_losses(self, losses: Tensor) -> Tensor:
        return self._rank.sum(losses)

    def decide(self, images: Tensor) -> Tensor:
        self._network.eval()
        with torch.inference_mode():
            decided: Tensor = self._network(images).argmax(dim=1)
        self._network.train()
        return decided

    def weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self._network.state_dict().items()}

    def state(self) -> dict[str, Tensor]:
        own = {f"network.{name}": tensor for name, tensor in self._network.state_dict().items()}
        return {**own, **self._optimiser.state(), "randomness": self._randomness.state}

    def restore(self, state: dict[str, Tensor]) -> None:
        own = {name.removeprefix("network."): each for name, each in state.items() if name.startswith("network.")}
        self._network.load_state_dict(own)
        self._optimiser.restore(state)
        self._randomness.state = state["randomness"]

    def finish(self, weights: dict[str, Tensor] | None) -> None:
        if weights is not None:
            self._network.load_state_dict(weights)
        self._network.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
