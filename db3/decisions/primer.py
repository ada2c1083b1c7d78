"""Primers: small networks trained on decisions already paid for, whose gradients say where the teacher's boundary is.

Several networks of other first weights are averaged: their errors differ, what they have learnt of the teacher does
not. Decisions near the boundary teach most, so a budget of decisions is best spent in part on images made by the
primers themselves (`scout`): minimal perturbations of other samples, asked, learnt, and made again.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from db3.decisions.minimal import Steps, minimal_perturbation
from db3.networks import build
from db3.rng import generator
from db3.teachers.base import ImageShape

CALL = 256
"""Rows of the one call shape: a network's floats may change in the last bits with the shape of a call."""

_WARMUP = 20


@dataclass(frozen=True)
class Answers:
    """Images and the teacher's decisions on them: what a primer may learn from."""

    images: UInt8[Tensor, "n d"]
    decisions: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.decisions)

    def joined(self, other: "Answers") -> "Answers":
        return Answers(torch.cat([self.images, other.images]), torch.cat([self.decisions, other.decisions]))


@dataclass(frozen=True)
class PrimerSettings:
    """How primers are built and trained.

    Attributes:
        architecture: a name that `db3.networks.build` knows.
        networks: how many are averaged.
        steps: of the first training.
        retrain: steps of every later one, which goes on from the weights there are.
        batch: images a step; of a later training half of them are new answers.
        lr: AdamW's highest learning rate; the later trainings take half.
        seed: of weights and order.
    """

    architecture: str = "lenet5"
    networks: int = 3
    steps: int = 600
    retrain: int = 300
    batch: int = 128
    lr: float = 2e-3
    seed: int = 0


class Primer:
    """An ensemble and its margin.

    Args:
        shape: (C, H, W).
        classes: K.
        settings: how.
        bounds: smallest and largest pixel value.
    """

    def __init__(
        self, shape: ImageShape, classes: int, settings: PrimerSettings, bounds: tuple[float, float] = (0.0, 1.0)
    ) -> None:
        self.shape, self.settings, self.bounds = shape, settings, bounds
        self.networks = [
            build(settings.architecture, shape, classes, mean=None, std=None, seed=1000 * settings.seed + number)
            .to(memory_format=torch.channels_last)
            .eval()
            for number in range(settings.networks)
        ]
        self._trainings = 0

    def margin(
        self, images: Float[Tensor, "n d"], targets: Int[Tensor, " n"], member: int | None = None
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        """Mean log-probability of class k less that of the best other class, and its gradient.

        Called in one padded shape, so that a pair's numbers do not depend on its neighbours. Between machines, and
        between numbers of threads, they may differ in the last bits, unlike all else in a search.

        Args:
            images: within the bounds.
            targets: k.
            member: this network alone; None: all, averaged.
        """
        networks = self.networks if member is None else [self.networks[member]]
        values, gradients = torch.empty(len(images)), torch.empty_like(images)
        for start in range(0, len(images), CALL):
            part, k = images[start : start + CALL], targets[start : start + CALL]
            missing = CALL - len(part)
            padded = torch.cat([part, part[:1].expand(missing, -1)]) if missing else part
            klass = torch.cat([k, k[:1].expand(missing)]) if missing else k
            value, gradient = _margin(networks, padded.view(CALL, *self.shape), klass)
            values[start : start + CALL] = value[: len(part)]
            gradients[start : start + CALL] = gradient.flatten(1)[: len(part)]
        return values, gradients

    def learn(self, old: Answers, new: Answers | None = None) -> None:
        """Train on answers; with `new`, go on from the weights there are, half of every batch new."""
        settings = self.settings
        steps, lr = (settings.steps, settings.lr) if new is None else (settings.retrain, settings.lr / 2)
        parts = [(old, settings.batch)] if new is None else [(old, settings.batch // 2), (new, settings.batch // 2)]
        for number, network in enumerate(self.networks):
            draw = generator(settings.seed, "primer", number, self._trainings)
            network.train().requires_grad_(True)
            optimiser = torch.optim.AdamW(network.parameters(), lr, weight_decay=1e-4, fused=True)
            for step in range(steps):
                cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
                optimiser.param_groups[0]["lr"] = lr * min(1.0, (step + 1) / _WARMUP) * cosine
                chosen = [(a, torch.randint(len(a), (count,), generator=draw)) for a, count in parts]
                levels = torch.cat([answers.images[rows] for answers, rows in chosen])
                images = self._pixels(levels).view(-1, *self.shape).contiguous(memory_format=torch.channels_last)
                loss = F.cross_entropy(network(images), torch.cat([a.decisions[rows] for a, rows in chosen]))
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            network.eval().requires_grad_(False)
        self._trainings += 1

    def _pixels(self, levels: UInt8[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        low, high = self.bounds
        return levels.float() * ((high - low) / 255) + low


def _margin(
    networks: list[nn.Module], images: Float[Tensor, "n c h w"], targets: Int[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n c h w"]]:
    images = images.contiguous(memory_format=torch.channels_last).detach().requires_grad_(True)
    scores = torch.stack([F.log_softmax(network(images), dim=1) for network in networks]).mean(dim=0)
    others = scores.scatter(1, targets[:, None], -torch.inf).amax(dim=1)
    value = scores.gather(1, targets[:, None])[:, 0] - others
    (gradient,) = torch.autograd.grad(value.sum(), images)
    return value.detach(), gradient.contiguous()


def scout(
    primer: Primer, natural: Answers, decisions: int, rounds: int = 3, share: float = 0.6
) -> Generator[Tensor, Tensor, Answers]:
    """Train a primer within a budget of decisions, the samples' own included.

    Args:
        primer: untrained.
        natural: samples with their decisions; the first (1 − share)·decisions are used.
        decisions: the whole budget.
        rounds: how often made images are asked and learnt.
        share: of the budget that goes to made images.

    Yields:
        Images [m, D] to decide.

    Returns:
        Every answer paid for; the primer has learnt them all.
    """
    kept = min(len(natural), decisions - int(share * decisions))
    known = Answers(natural.images[:kept], natural.decisions[:kept])
    samples = known
    primer.learn(known)
    low, high = primer.bounds
    classes = int(known.decisions.max()) + 1
    for number in range(rounds):
        count = (decisions - kept) // rounds
        draw = generator(primer.settings.seed, "scout", number)
        rows = torch.randint(len(samples), (count,), generator=draw)
        shift = torch.randint(1, max(2, classes), (count,), generator=draw)
        targets = (samples.decisions[rows] + shift) % classes
        images = primer._pixels(samples.images[rows])
        found, _ = minimal_perturbation(primer.margin, images, targets, Steps(10), primer.bounds)
        overshoot = 0.9 + 0.6 * torch.rand(count, 1, generator=draw)
        made = (images + (found - images) * overshoot).clamp(low, high)
        levels = ((made - low) * (255 / (high - low))).round().to(torch.uint8)
        decided = yield primer._pixels(levels)
        known = known.joined(Answers(levels, decided))
        primer.learn(samples, Answers(known.images[kept:], known.decisions[kept:]))
    return known
