"""A generator trained against students alone, beside prior images; it is no source of db3 (docs/guides/zero-shot.md).

Between two asks the generator makes images on which two students disagree (L1 between their softmax outputs), of all
classes alike (the entropy of their mean prediction), without a query; then it makes images, the teacher decides them,
and both students learn all that was decided so far (a replay of everything). After DFME (Truong et al., CVPR 2021),
DFMS-HL (Sanyal et al., CVPR 2022) and the class balance of DAFL (Chen et al., ICCV 2019).
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from db3.images.priors import prior_images
from db3.networks import build
from db3.pixels import to_bytes
from db3.rng import Purpose, derived_seed
from db3.teachers.base import ImageShape
from db3.training.examples import Examples
from db3.training.train import TrainSettings, train
from db3.zero_shot.rounds import PRIOR, VARIATION, Gathered, Images

Decide = Callable[[UInt8[np.ndarray, "n c h w"]], Int64[np.ndarray, " n"]]
"""uint8 images, any number of them, to the teacher's decisions."""

_NOISE = 64
_BATCH = 128


class Generator(nn.Module):
    """Noise to images, from a quarter of their size by two upsamplings (the generator of DAFL, half as wide)."""

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        channels, height, width = shape
        self._grid = (64, height // 4, width // 4)
        self._first = nn.Linear(_NOISE, int(np.prod(self._grid)))
        self._rest = nn.Sequential(
            nn.BatchNorm2d(64),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(64, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.LeakyReLU(0.2),
            nn.Conv2d(32, channels, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, noise: Float[Tensor, "n z"]) -> Float[Tensor, "n c h w"]:
        images: Tensor = self._rest(self._first(noise).view(-1, *self._grid))
        return images


def gather_generated(
    decide: Decide,
    shape: ImageShape,
    classes: int,
    budget: int,
    *,
    seed: int,
    first: float = 0.15,
    rounds: int = 40,
    generator_steps: int = 40,
    student_steps: int = 60,
) -> Gathered:
    """Images made by a generator against two students, decided within the budget.

    Args:
        decide: asks the teacher.
        shape: (C, H, W), height and width multiples of four.
        classes: K.
        budget: images asked.
        seed: of everything.
        first: share of the budget asked of prior images before; 0: the generator's own first images.
        rounds: asks after that.
        generator_steps: of each round.
        student_steps: of each student in each round.
    """
    torch.manual_seed(derived_seed(seed, Purpose.BENCHMARK, "generator"))
    network, pair = Generator(shape), [build("lenet5_half", shape, classes, seed=seed + k) for k in range(2)]
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    start = round(budget * first)
    images = [prior_images(shape, range(start), seed)] if start else []
    decisions = [decide(images[0])] if start else []
    for number in range(rounds):
        if images:
            _learn(pair, np.concatenate(images), np.concatenate(decisions), student_steps, seed, number)
            for _ in range(generator_steps):
                _step(network, pair, optimiser)
        made = _made(network, (budget - start) * (number + 1) // rounds - (budget - start) * number // rounds)
        images.append(made)
        decisions.append(decide(made))
    decided = np.concatenate(decisions)
    kinds = np.full(budget, VARIATION)
    kinds[:start] = PRIOR
    sizes = [len(part) for part in images]
    missing = tuple(np.flatnonzero(np.bincount(decided, minlength=classes) == 0).tolist())
    return Gathered(np.concatenate(images), decided, np.repeat(np.arange(len(sizes)), sizes), kinds, missing, budget)


def _learn(pair: list[nn.Module], images: Images, decisions: np.ndarray, steps: int, seed: int, number: int) -> None:
    plan = TrainSettings(steps=steps, balance=0.5)
    for place, student in enumerate(pair):
        train(
            student, Examples(images, decisions), plan, derived_seed(seed, Purpose.BENCHMARK, "student", number, place)
        )


def _step(network: Generator, pair: list[nn.Module], optimiser: torch.optim.Optimizer) -> None:
    images = network.train()(torch.randn(_BATCH, _NOISE))
    one, other = (torch.softmax(student.eval()(images), dim=1) for student in pair)
    apart = (one - other).abs().sum(dim=1).mean()
    mean = torch.cat([one, other]).mean(dim=0)
    loss = -apart + (mean * (mean + 1e-8).log()).sum()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def _made(network: Generator, count: int) -> Images:
    with torch.inference_mode():
        network.train()  # statistics of its own batches, as it was trained
        parts = [network(torch.randn(_BATCH, _NOISE)) for _ in range(-(-count // _BATCH))]
    return to_bytes(torch.cat(parts)[:count]).numpy()
