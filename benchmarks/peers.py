"""Peers from PyPI, held to the same count of queries. Each is skipped with a note when it is not installed."""

import contextlib
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from db3.search.ledger import Pairs
from db3.teachers.base import Teacher

_CLASSES_LOGIT = 10.0

Curve = Float[Tensor, "n t"]


class _SpentError(Exception):
    """The last checkpoint is passed: what follows would not be shown."""


class _Counted:
    """A teacher that notes, after each query, the nearest image decided as class k."""

    def __init__(self, teacher: Teacher, image: Tensor, target: int, checkpoints: Sequence[int]) -> None:
        self._teacher, self._image, self._target, self._checkpoints = teacher, image, target, checkpoints
        self.asked, self.nearest = 0, float("inf")
        self.curve = [float("inf")] * len(checkpoints)

    def scores(self, images: Tensor) -> Tensor:
        """One-hot scores of the decisions."""
        if self.asked >= self._checkpoints[-1]:
            raise _SpentError
        decided = torch.cat([self._teacher.decide(part) for part in torch.split(images, self._teacher.spec.max_batch)])
        for image, decision in zip(images, decided.tolist(), strict=True):
            self.asked += 1
            if decision == self._target:
                self.nearest = min(self.nearest, float((image - self._image).norm()))
            for place, at in enumerate(self._checkpoints):
                if self.asked <= at:
                    self.curve[place] = self.nearest
        return nn.functional.one_hot(decided, self._teacher.spec.classes).float() * _CLASSES_LOGIT

    def stands(self) -> list[float]:
        """The curve; an attack that ended early stands where it ended."""
        pairs = zip(self.curve, self._checkpoints, strict=True)
        return [value if self.asked > at else self.nearest for value, at in pairs]


class _Network(nn.Module):
    """The counted teacher in the guise of a network."""

    def __init__(self, counted: _Counted) -> None:
        super().__init__()
        self._counted = counted

    def forward(self, images: Tensor) -> Tensor:
        return self._counted.scores(images)


def foolbox_hop_skip_jump(
    teacher: Teacher, pairs: Pairs, starts: Float[Tensor, "n d"], checkpoints: Sequence[int]
) -> Curve | None:
    """The HopSkipJump of foolbox from the same start samples, pair by pair (its batches share one norm)."""
    try:
        import foolbox  # noqa: PLC0415 - an optional peer
    except ImportError:
        return _skipped("foolbox", "foolbox")

    def attack(counted: _Counted, image: Tensor, start: Tensor, target: int) -> None:
        model = foolbox.PyTorchModel(_Network(counted).eval(), bounds=pairs.bounds, device="cpu")
        steps = max(1, int((checkpoints[-1] / 130) ** (2 / 3)))
        foolbox.attacks.HopSkipJumpAttack(steps=steps, init_attack=None).run(
            model, image, foolbox.criteria.TargetedMisclassification(torch.tensor([target])), starting_points=start
        )

    return _pair_by_pair(attack, teacher, pairs, starts, checkpoints)


def art_hop_skip_jump(
    teacher: Teacher, pairs: Pairs, starts: Float[Tensor, "n d"], checkpoints: Sequence[int]
) -> Curve | None:
    """The HopSkipJump of the Adversarial Robustness Toolbox from the same start samples, pair by pair."""
    try:
        from art.attacks.evasion import HopSkipJump  # noqa: PLC0415 - an optional peer
        from art.estimators.classification import BlackBoxClassifier  # noqa: PLC0415
    except ImportError:
        return _skipped("art", "adversarial-robustness-toolbox")
    classes = teacher.spec.classes

    def attack(counted: _Counted, image: Tensor, start: Tensor, target: int) -> None:
        def predict(images: np.ndarray) -> np.ndarray:
            return counted.scores(torch.from_numpy(np.asarray(images, np.float32)).view(-1, *pairs.shape)).numpy()

        model = BlackBoxClassifier(predict, pairs.shape, classes, clip_values=pairs.bounds)
        wanted = np.eye(classes, dtype=np.float32)[[target]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            search = HopSkipJump(model, batch_size=64, targeted=True, max_iter=64, verbose=False)
            search.generate(x=image.numpy(), y=wanted, x_adv_init=start.numpy())

    return _pair_by_pair(attack, teacher, pairs, starts, checkpoints)


def _skipped(name: str, package: str) -> None:
    print(f"{name:14}skipped: {package} is not installed; install the extra `bench`")


def _pair_by_pair(
    attack: Callable[[_Counted, Tensor, Tensor, int], None],
    teacher: Teacher,
    pairs: Pairs,
    starts: Float[Tensor, "n d"],
    checkpoints: Sequence[int],
) -> Curve:
    curves = []
    for image, start, target in zip(pairs.images, starts, pairs.targets.tolist(), strict=True):
        counted = _Counted(teacher, image.view(pairs.shape), target, checkpoints)
        with contextlib.suppress(_SpentError):
            attack(counted, image.view(1, *pairs.shape), start.view(1, *pairs.shape), target)
        curves.append(counted.stands())
    return torch.tensor(curves)
