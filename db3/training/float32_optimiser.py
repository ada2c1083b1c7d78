"""Optimisers of float32 networks with what the records of fast training add, and their state as plain tensors."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from db3.settings.training import Schedule

_KEPT = 0.774  # of the running mean at each return, at the end: 0.95^5

State = dict[str, Tensor]


class Float32Optimiser:
    """AdamW, or gradient descent with Nesterov's momentum; maybe with returns of the weights to their running mean.

    Args:
        network: on its device; weights that require no gradient are left alone.
        settings: of the training.

    Notes:
        Shifts of batch normalisations may learn faster, their weight decay lowered by as much. Lookahead is Zhang,
        Lucas, Hinton and Ba's ("Lookahead optimizer: k steps forward, 1 step back", NeurIPS 2019) in Jordan's form
        (2024): the mean keeps 0.774 · (step / steps)³ of itself, statistics included, and is the result at the end.
    """

    def __init__(self, network: nn.Module, settings: Schedule) -> None:
        self._network, self._settings = network, settings
        self._optimiser = _sgd(network, settings) if settings.optimiser == "sgd" else _adamw(network, settings)
        state = network.state_dict() if settings.lookahead else {}
        self._weights = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
        self._means = {name: tensor.detach().clone() for name, tensor in self._weights.items()}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self._optimiser.zero_grad()

    def step(self, step: int, lr: float) -> None:
        """Step number `step`, from 0, at this learning rate."""
        for group in self._optimiser.param_groups:
            group["lr"] = lr * group["factor"]
        self._optimiser.step()
        done, steps = step + 1, self._settings.steps
        if self._means and (done % self._settings.lookahead == 0 or done == steps):
            self._return(1.0 if done == steps else _KEPT * (step / steps) ** 3)

    @torch.no_grad()
    def _return(self, kept: float) -> None:
        for name, weight in self._weights.items():
            weight.copy_(self._means[name].lerp_(weight, 1 - kept))

    def state(self) -> State:
        """All that the next step depends on but the network, by name; shared, not copied."""
        return {f"mean.{name}": tensor for name, tensor in self._means.items()} | dict(self._inner())

    def _inner(self) -> Iterator[tuple[str, Tensor]]:
        for number, kept in self._optimiser.state_dict()["state"].items():
            yield from ((f"optimiser.{number}.{name}", tensor) for name, tensor in kept.items())

    def restore(self, state: State) -> None:
        """Go on from what `state` returned."""
        parameters = [parameter for group in self._optimiser.param_groups for parameter in group["params"]]
        for name, tensor in state.items():
            kind, _, rest = name.partition(".")
            if kind == "mean":
                self._means[rest].copy_(tensor)
            elif kind == "optimiser":
                number, _, inner = rest.partition(".")
                like = parameters[int(number)]
                # In the weight's own order in memory: fused kernels go through both at once.
                same = torch.empty_like(like) if tensor.shape == like.shape else torch.empty_like(tensor)
                self._optimiser.state[like][inner] = same.copy_(tensor)


def _adamw(network: nn.Module, settings: Schedule) -> torch.optim.Optimizer:
    every = {"params": list(network.parameters()), "factor": 1.0}
    return torch.optim.AdamW([every], weight_decay=settings.weight_decay, fused=True)


def _sgd(network: nn.Module, settings: Schedule) -> torch.optim.Optimizer:
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    shifts = [norm.bias for norm in norms if norm.affine and norm.bias.requires_grad]
    apart = {id(shift) for shift in shifts}
    others = [each for each in network.parameters() if each.requires_grad and id(each) not in apart]
    factor, decay = settings.shift_rate, settings.weight_decay
    groups = [
        {"params": others, "factor": 1.0, "weight_decay": decay},
        {"params": shifts, "factor": factor, "weight_decay": decay / factor},
    ]
    named = [group for group in groups if group["params"]]
    return torch.optim.SGD(named, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)
