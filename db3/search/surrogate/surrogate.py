"""Surrogates: small networks trained on decisions already paid for, whose gradients say where the teacher's boundary
is.

Several networks of other first weights are averaged: their errors differ, what they have learnt of the teacher does
not. Decisions near the boundary teach most, so a budget of decisions is best spent in part on images made by the
surrogates themselves (`ask_synthetic`): minimal perturbations of other samples, asked, learnt, and made again.
"""

import functools
import itertools
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from db3.arithmetic import (
    AdamW,
    drawing,
    float32_weights,
    half_cosine,
    initialise,
    round_weights,
    student_loss,
    to_exact,
)
from db3.arithmetic.matrices import Factor, factor, row_products
from db3.errors import BudgetSpent
from db3.memory import keep_freed_memory
from db3.networks import build
from db3.networks.fitting import surrogate_architectures
from db3.pixels import to_bytes, to_floats
from db3.progress import counted
from db3.rng import Purpose, derived_seed, generator
from db3.search.minimal_perturbation import Steps, minimal_perturbation
from db3.search.subspace import error_basis
from db3.search.surrogate.lead import exact_margin, exact_value
from db3.search.surrogate.parallel import run_parallel
from db3.settings.declare import Doc, Ge, Gt, settings
from db3.settings.search import Query, Surrogates
from db3.teachers.base import ImageShape
from db3.training.augmentation import augmentation
from db3.training.changes import changes_of
from db3.training.mixing import draw_share, mixed_loss, mixup

_Parts = list[tuple["Answers", int]]
"""Answers, and how many of them a batch takes."""

CALL = 64
"""Rows of a call; of every call where arithmetic is float32: its last bits may change with the shape of a call."""

_WARMUP = 20
_WEIGHT_DECAY = 1e-4
_BASIS_SAMPLES = 384
_PRODUCTS = 2048  # rows of a product with the basis: bounds the memory
_SYNTHETIC_STEPS = Steps(8)


@dataclass(frozen=True)
class Answers:
    """Images and the teacher's decisions on them: what a surrogate may learn from."""

    images: UInt8[Tensor, "n d"]
    decisions: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.decisions)

    def to(self, device: torch.device) -> "Answers":
        return Answers(self.images.to(device), self.decisions.to(device))

    def joined(self, other: "Answers") -> "Answers":
        return Answers(torch.cat([self.images, other.images]), torch.cat([self.decisions, other.decisions]))


@settings
class SurrogateSettings(Surrogates):
    """How surrogates are built and trained: the parameters, and what no file sets."""

    maximum: Annotated[
        int, Ge(1), Doc("steps of a later training at most; as many as it takes to see every new answer once")
    ] = 1500
    batch: Annotated[
        int, Ge(1), Doc("images a step, of a later training half of them new answers; small ones stay in a CPU's cache")
    ] = 64
    lr: Annotated[float, Gt(0), Doc("AdamW's highest learning rate; the later trainings take half")] = 2e-3
    basis: Annotated[int, Ge(0), Doc("directions kept along which the networks differ")] = 300
    seed: Annotated[int, Ge(0), Doc("of weights and order")] = 0

    def synthetic(self, samples: int) -> int:
        """Synthetic queries beside so many samples."""
        return round(self.synthetic_queries * samples)


def surrogates_of(query: Query) -> SurrogateSettings:
    """The surrogates that the parameters of a search describe."""
    return SurrogateSettings(**vars(query.surrogate), seed=query.seed)


class Surrogate:
    """An ensemble and its margin.

    With `settings.arithmetic` exact its numbers are the same on every machine, device and number of threads
    (`db3.arithmetic`): networks have float64 weights while they learn, float32 ones afterwards. With float32 the last
    bits follow the machine, and with bfloat16 too, whose products are of 16 bits.

    Args:
        shape: (C, H, W).
        classes: K.
        settings: how.
        bounds: smallest and largest pixel value.
        device: where it computes; images and classes that it is given lie there too.
        workers: networks that are trained at the same time, on a CPU; they change no bit.
    """

    def __init__(
        self,
        shape: ImageShape,
        classes: int,
        settings: SurrogateSettings,
        bounds: tuple[float, float] = (0.0, 1.0),
        device: str | torch.device = "cpu",
        workers: int = 1,
    ) -> None:
        self.shape, self.settings, self.bounds, self.device = shape, settings, bounds, torch.device(device)
        self._workers = workers if self.device.type == "cpu" else 1
        # First weights of their own: never those that a teacher of the same architecture may have begun with.
        seeds = [derived_seed(settings.seed, Purpose.SURROGATE, number) for number in range(settings.networks)]
        self._exact = settings.arithmetic == "exact"
        names = itertools.cycle(surrogate_architectures(settings.architecture, shape))
        self.networks = [self._network(name, classes, seed) for name, seed in zip(names, seeds, strict=False)]
        self.basis = torch.zeros(1, math.prod(shape), device=self.device)
        self._split: tuple[Tensor, tuple[Factor, Factor]] | None = None
        self._trainings = 0
        self._changes = changes_of(settings.changes, shape[0])

    def _network(self, architecture: str, classes: int, seed: int) -> nn.Module:
        network = build(architecture, self.shape, classes, seed=seed)
        if self._exact:
            initialise(network, seed)
            return to_exact(network).to(self.device).eval().requires_grad_(False)
        return network.to(self.device).to(memory_format=torch.channels_last).eval()

    def margin(
        self, images: Float[Tensor, "n d"], targets: Int[Tensor, " n"], member: int | None = None
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        """Mean log-probability of class k less that of the best other class, and its gradient.

        A pair's numbers do not depend on its neighbours.

        Args:
            images: within the bounds.
            targets: k.
            member: this network alone; None: all, averaged.
        """
        networks = self.networks if member is None else [self.networks[member]]
        values, gradients = images.new_empty(len(images)), torch.empty_like(images)
        with self._short():
            for rows, pixels, classes in self._calls(images, targets):
                value, gradient = (exact_margin if self._exact else _margin)(networks, pixels, classes)
                count = len(values[rows])
                values[rows], gradients[rows] = value[:count], gradient.flatten(1)[:count]
        return values, gradients

    def value(self, images: Float[Tensor, "n d"], targets: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The margin alone: a third of the work."""
        values = images.new_empty(len(images))
        with torch.no_grad(), self._short():
            for rows, pixels, classes in self._calls(images, targets):
                value = (exact_value if self._exact else _lead)(self.networks, pixels, classes)
                values[rows] = value[: len(values[rows])]
        return values

    def coordinates(self, images: Float[Tensor, "n d"]) -> Float[Tensor, "n p"]:
        """Images in the basis, each coordinate scaled by how much the networks differ along it."""
        basis, _ = self._factors()
        parts = [row_products(part.to(torch.float64), basis) for part in torch.split(images, _PRODUCTS)]
        return torch.cat(parts).to(torch.float32)

    def directions(self, weights: Float[Tensor, "*n p"]) -> Float[Tensor, "*n d"]:
        """Steps in pixels whose parts along the basis these are."""
        _, across = self._factors()
        return row_products(weights.to(torch.float64), across).to(torch.float32)

    def _factors(self) -> tuple[Factor, Factor]:
        """The basis and its columns, split for products once."""
        basis, split = self._split or (None, None)
        if split is None or basis is not self.basis:
            wide = self.basis.to(torch.float64)
            split = factor(wide), factor(wide.T.contiguous())
            self._split = self.basis, split
        return split

    def pixels(self, levels: UInt8[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """Images kept at 1/255 of the bounds' span."""
        return to_floats(levels, self.bounds)

    def learn(self, old: Answers, new: Answers | None = None) -> None:
        """Train on answers and find the basis; with `new`, go on from the weights there are, half of each batch new."""
        self.fit(old, new)
        self.orient(old)

    def fit(self, old: Answers, new: Answers | None = None) -> None:
        """`learn` without the basis, which only coordinates need: see `orient`."""
        keep_freed_memory()
        settings, old = self.settings, old.to(self.device)
        steps, lr = settings.steps, settings.lr
        parts = [(old, settings.batch)]
        if new is not None:
            half = settings.batch // 2
            steps, lr = min(max(settings.retrain, len(new) // half), settings.maximum), settings.lr / 2
            parts = [(old, settings.batch - half), (new.to(self.device), half)]
        with counted("training surrogates", steps * len(self.networks)) as told:
            trainings = [
                functools.partial(
                    self._train_exactly if self._exact else self._train,
                    network,
                    parts,
                    _rates(steps, lr),
                    generator(settings.seed, Purpose.SURROGATE_BATCH, number, self._trainings),
                    told,
                )
                for number, network in enumerate(self.networks)
            ]
            run_parallel(trainings, self._workers)
        self._trainings += 1

    def _train_exactly(
        self,
        network: nn.Module,
        parts: _Parts,
        rates: Sequence[float],
        draw: torch.Generator,
        told: Callable[[], object],
    ) -> None:
        network.train().requires_grad_(True)
        optimiser, seed = AdamW(network.parameters(), weight_decay=_WEIGHT_DECAY), draw.initial_seed()
        for step, rate in enumerate(rates):
            images, aims = self._batch(parts, draw, step)
            optimiser.zero_grad()
            with drawing(seed, step):
                logits = network(images)
            loss = mixed_loss(
                aims,
                functools.partial(student_loss, logits, soft_labels=None, ce=1.0, kl=0.0, temperature=1.0),
            )
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step(rate)
            told()
        network.eval().requires_grad_(False)
        round_weights(network)

    def _train(
        self,
        network: nn.Module,
        parts: _Parts,
        rates: Sequence[float],
        draw: torch.Generator,
        told: Callable[[], object],
    ) -> None:
        network.train().requires_grad_(True)
        optimiser = torch.optim.AdamW(network.parameters(), weight_decay=_WEIGHT_DECAY, fused=True)
        for step, rate in enumerate(rates):
            optimiser.param_groups[0]["lr"] = rate
            images, aims = self._batch(parts, draw, step)
            with self._short():
                logits = network(images.contiguous(memory_format=torch.channels_last)).float()
            loss = mixed_loss(aims, functools.partial(F.cross_entropy, logits))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            told()
        network.eval().requires_grad_(False)

    def _short(self) -> AbstractContextManager[object]:
        """Where networks multiply numbers of 16 bits, if they shall."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.arithmetic == "bfloat16")

    def _batch(
        self, parts: _Parts, draw: torch.Generator, step: int
    ) -> tuple[Float[Tensor, "n c h w"], list[tuple[float, Int[Tensor, " n"]]]]:
        """Images drawn from each of the parts and changed, and the decisions that they shall teach with weights."""
        drawn = [torch.randint(len(answers), (count,), generator=draw) for answers, count in parts]
        chosen = [(answers, rows.to(self.device)) for (answers, _), rows in zip(parts, drawn, strict=True)]
        images = self.pixels(torch.cat([answers.images[rows] for answers, rows in chosen])).view(-1, *self.shape)
        decisions = torch.cat([answers.decisions[rows] for answers, rows in chosen])
        seed = draw.initial_seed()
        augment = augmentation(self._changes.augment, seed, self._changes.crop)
        if augment:
            places = np.arange(len(images))  # drawn anew at every step, as the images are
            low, span = self.bounds[0], self.bounds[1] - self.bounds[0]
            images = augment((images - low) / span, step, places, np.zeros_like(places)) * span + low
        share = draw_share(self._changes.mix, seed, step)
        if not share:
            return images, [(1.0, decisions)]
        order = torch.randperm(len(images), generator=draw).to(self.device)
        return mixup(images, images[order], share), [(1 - share, decisions), (share, decisions[order])]

    def orient(self, known: Answers) -> None:
        """Find the basis: directions along which the networks differ, at points on their own boundary."""
        draw = generator(self.settings.seed, Purpose.BASIS)
        images, targets = draw_targets(self, known.to(self.device), _BASIS_SAMPLES, draw)
        points, _ = minimal_perturbation(self.margin, images, targets, Steps(5), self.bounds)
        members = [functools.partial(self.margin, member=number) for number in range(len(self.networks))]
        self.basis = error_basis(members, points, targets, self.bounds, self.settings.basis)

    def _calls(
        self, images: Float[Tensor, "n d"], targets: Int[Tensor, " n"]
    ) -> Iterator[tuple[slice, Float[Tensor, "c h w x"], Int[Tensor, " c"]]]:
        """Cut into calls; where arithmetic is float32 of one shape, the last one padded with its first image."""
        for start in range(0, len(images), CALL):
            part, k = images[start : start + CALL], targets[start : start + CALL]
            missing = CALL - len(part)
            if missing and not self._exact:
                part, k = torch.cat([part, part[:1].expand(missing, -1)]), torch.cat([k, k[:1].expand(missing)])
            yield slice(start, start + CALL), part.view(-1, *self.shape), k

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Weights, basis, and how often it was trained: all that a surrogate of the same settings needs to go on."""
        weights = {
            f"{number}.{name}": tensor.contiguous().cpu().numpy().copy()
            for number, network in enumerate(self.networks)
            for name, tensor in float32_weights(network).items()
        }
        return {**weights, "basis": self.basis.cpu().numpy(), "trainings": np.array(self._trainings)}

    def load(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become the surrogate whose `arrays` these are; it has to be made with the same settings."""
        for number, network in enumerate(self.networks):
            prefix = f"{number}."
            state = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in state.items()})
            network.eval().requires_grad_(False)
        self.basis = torch.from_numpy(np.array(arrays["basis"])).to(self.device)
        self._trainings = int(arrays["trainings"])


def _rates(steps: int, lr: float) -> list[float]:
    """The learning rate of every step: a short warm-up times half a cosine."""
    return [lr * min(1.0, (step + 1) / _WARMUP) * factor for step, factor in enumerate(half_cosine(steps))]


def _lead(
    networks: list[nn.Module], images: Float[Tensor, "n c h w"], targets: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    images = images.contiguous(memory_format=torch.channels_last)
    scores = torch.stack([F.log_softmax(network(images).float(), dim=1) for network in networks]).mean(dim=0)
    others = scores.scatter(1, targets[:, None], -torch.inf).amax(dim=1)
    lead: Tensor = scores.gather(1, targets[:, None])[:, 0] - others
    return lead


def _margin(
    networks: list[nn.Module], images: Float[Tensor, "n c h w"], targets: Int[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n c h w"]]:
    images = images.detach().requires_grad_(True)
    value = _lead(networks, images, targets)
    (gradient,) = torch.autograd.grad(value.sum(), images)
    return value.detach(), gradient.contiguous()


def draw_targets(
    surrogate: Surrogate, known: Answers, count: int, draw: torch.Generator
) -> tuple[Float[Tensor, "n d"], Int[Tensor, " n"]]:
    """Images drawn from `known`, and for each a random class other than its decision."""
    classes = int(known.decisions.max()) + 1
    rows = torch.randint(len(known), (count,), generator=draw).to(surrogate.device)
    shift = torch.randint(1, max(2, classes), (count,), generator=draw).to(surrogate.device)
    return surrogate.pixels(known.images[rows]), (known.decisions[rows] + shift) % classes


def ask_synthetic(
    surrogate: Surrogate, natural: Answers, decisions: int, rounds: int = 3, share: float = 0.6
) -> Generator[Tensor, Tensor, Answers]:
    """Train a surrogate within a budget of decisions, the samples' own included.

    Args:
        surrogate: untrained.
        natural: samples with their decisions; the first (1 − share)·decisions are used.
        decisions: the whole budget.
        rounds: how often made images are asked and learnt.
        share: of the budget that goes to made images.

    Yields:
        Images [m, D] to decide.

    Returns:
        Every answer paid for, fewer where the teacher refuses to go on; the surrogate has learnt them all, but has no
        basis yet.
    """
    natural = natural.to(surrogate.device)
    kept = min(len(natural), decisions - int(share * decisions))
    known = Answers(natural.images[:kept], natural.decisions[:kept])
    samples = known
    surrogate.fit(known)
    for number in range(rounds):
        count = (decisions - kept) // rounds
        draw = generator(surrogate.settings.seed, Purpose.SYNTHETIC_QUERIES, number)
        images, targets = draw_targets(surrogate, samples, count, draw)
        found, _ = minimal_perturbation(surrogate.margin, images, targets, _SYNTHETIC_STEPS, surrogate.bounds)
        overshoot = 0.9 + 0.6 * torch.rand(count, 1, generator=draw).to(surrogate.device)
        made = (images + (found - images) * overshoot).clamp(*surrogate.bounds)
        levels = to_bytes(made, surrogate.bounds)
        try:
            decided = yield surrogate.pixels(levels)
        except BudgetSpent:
            break
        known = known.joined(Answers(levels, decided))
        surrogate.fit(samples, Answers(known.images[kept:], known.decisions[kept:]))
    return known
