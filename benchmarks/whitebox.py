"""The white-box minimum: the nearest image of class k that gradients of the teacher itself can find. Benchmark only."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from db3.search.ledger import Pairs
from db3.search.minimal_perturbation import Steps, minimal_perturbation
from db3.teachers.base import Teacher

THOROUGH = Steps(150, size=(0.5, 0.005), shrink=(0.1, 0.001))
_CALL = 256
_LONGER = 1.001  # a minimum lies on the boundary, where another call shape may decide otherwise


@dataclass(frozen=True)
class WhiteBox:
    """The margin of a network with its scores in view; the same form as a surrogate's."""

    network: nn.Module
    shape: tuple[int, int, int]

    def margin(
        self, images: Float[Tensor, "n d"], targets: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        """score_k less the best other score, and its gradient."""
        values, gradients = [], []
        for part, k in zip(torch.split(images, _CALL), torch.split(targets, _CALL), strict=True):
            pixels = part.view(-1, *self.shape).contiguous(memory_format=torch.channels_last).requires_grad_(True)
            scores = self.network(pixels)
            others = scores.scatter(1, k[:, None], -torch.inf).amax(dim=1)
            value = scores.gather(1, k[:, None])[:, 0] - others
            values.append(value.detach())
            gradients.append(torch.autograd.grad(value.sum(), pixels)[0].flatten(1))
        return torch.cat(values), torch.cat(gradients)


def whitebox_minimum(
    box: WhiteBox, teacher: Teacher, pairs: Pairs, starts: Float[Tensor, "n q d"], steps: Steps = THOROUGH
) -> Float[Tensor, " n"]:
    """Smallest L2 distance over restarts from every start sample, checked by the teacher's decision (+inf: none)."""
    best = torch.full((len(pairs),), torch.inf)
    for start in starts.unbind(dim=1):
        found, distance = minimal_perturbation(box.margin, pairs.images, pairs.targets, steps, pairs.bounds, start)
        outer = (pairs.images + (found - pairs.images) * _LONGER).clamp(*pairs.bounds)
        right = teacher.decide(outer.view(-1, *pairs.shape)) == pairs.targets
        best = torch.where(right, torch.minimum(best, distance), best)
    return best
