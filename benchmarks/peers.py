"""Peers from PyPI, held to the same count of queries. Each is skipped with a note when it is not installed."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from db3.decisions.search import Pairs
from db3.teachers.base import Teacher

_CLASSES_LOGIT = 10.0


class _Counting(nn.Module):
    """A teacher in the guise of a network (one-hot scores) that notes the nearest image of class k after each query."""

    def __init__(self, teacher: Teacher, image: Tensor, target: int, checkpoints: Sequence[int]) -> None:
        super().__init__()
        self._teacher, self._image, self._target, self._checkpoints = teacher, image, target, checkpoints
        self.asked, self.nearest = 0, float("inf")
        self.curve = [float("inf")] * len(checkpoints)

    def forward(self, images: Tensor) -> Tensor:
        decided = torch.cat([self._teacher.decide(part) for part in torch.split(images, self._teacher.spec.max_batch)])
        for image, decision in zip(images, decided.tolist(), strict=True):
            self.asked += 1
            if decision == self._target:
                self.nearest = min(self.nearest, float((image - self._image).norm()))
            for place, at in enumerate(self._checkpoints):
                if self.asked <= at:
                    self.curve[place] = self.nearest
        return nn.functional.one_hot(decided, self._teacher.spec.classes).float() * _CLASSES_LOGIT


def foolbox_hop_skip_jump(
    teacher: Teacher, pairs: Pairs, starts: Float[Tensor, "n d"], checkpoints: Sequence[int]
) -> Float[Tensor, "n t"] | None:
    """The HopSkipJump of foolbox from the same start samples, pair by pair (its batches share one norm)."""
    try:
        import foolbox  # noqa: PLC0415 - an optional peer
    except ImportError:
        print("foolbox is not installed, so it is left out; install the extra `bench`")
        return None
    curves = []
    for image, start, target in zip(pairs.images, starts, pairs.targets.tolist(), strict=True):
        network = _Counting(teacher, image.view(pairs.shape), target, checkpoints)
        model = foolbox.PyTorchModel(network.eval(), bounds=pairs.bounds, device="cpu")
        steps = max(1, int((checkpoints[-1] / 130) ** (2 / 3)))
        attack = foolbox.attacks.HopSkipJumpAttack(steps=steps, init_attack=None)
        criterion = foolbox.criteria.TargetedMisclassification(torch.tensor([target]))
        attack.run(model, image.view(1, *pairs.shape), criterion, starting_points=start.view(1, *pairs.shape))
        curves.append(network.curve)
    return torch.tensor(curves)
