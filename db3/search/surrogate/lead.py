"""How far class k leads in an ensemble of exact networks, and the gradient of that lead."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from db3.arithmetic.functions import divide
from db3.arithmetic.losses import log_softmax


def exact_value(
    networks: Sequence[nn.Module], images: Float[Tensor, "n c h w"], targets: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """The networks' mean log-probability of class k less that of the best other class."""
    lead, _ = _lead([log_softmax(network(images)) for network in networks], targets)
    return lead


def exact_margin(
    networks: Sequence[nn.Module], images: Float[Tensor, "n c h w"], targets: Int[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n c h w"]]:
    """`exact_value` and its gradient; of several best other classes the first counts."""
    images = images.detach().to(torch.float64).requires_grad_(True)
    scores = [log_softmax(network(images)) for network in networks]
    lead, best = _lead([score.detach() for score in scores], targets)
    slope = torch.zeros_like(scores[0])
    slope.scatter_(1, targets[:, None], 1.0).scatter_(1, best[:, None], -1.0)
    total = torch.zeros_like(images)
    for score in scores:  # one after the other: sums of three terms and more have an order
        (gradient,) = torch.autograd.grad(score, images, slope)
        total = total + gradient
    return lead, divide(total.detach(), len(networks))


def _lead(scores: Sequence[Float[Tensor, "n k"]], targets: Int[Tensor, " n"]) -> tuple[Tensor, Tensor]:
    """The lead, and which other class is the best."""
    mean = divide(sum(scores[1:], scores[0]), len(scores))
    others = mean.scatter(1, targets[:, None], -torch.inf)
    best = others.argmax(dim=1)
    return (mean.gather(1, targets[:, None]) - others.gather(1, best[:, None]))[:, 0], best
