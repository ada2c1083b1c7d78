"""One training loop for students and for the local teacher. Read it from top to bottom.

In exact arithmetic the result is a function of (network, examples, settings, seed): the same bytes on every machine,
whatever its kernels, with any number of threads and of processes that share each batch (`db3.training.processes`). In
float32 it is the same bytes at every run on the same kind of machine, with the same number of threads and processes.
Several trainings may run in threads of one process (nothing here touches a global generator).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn

from db3.errors import ConfigError, Db3Error
from db3.memory import keep_freed_memory
from db3.progress import counted
from db3.rng import Purpose, permutation
from db3.settings.declare import Doc, Ge, settings
from db3.settings.training import Positive, Schedule
from db3.training.assemble import Assembly
from db3.training.batches import Indices, parts
from db3.training.checkpoint import Checkpoint, Course
from db3.training.exact_learner import ExactLearner, require_float64
from db3.training.examples import Examples, Group, pixels
from db3.training.float32_learner import Float32Learner
from db3.training.learner import Learner
from db3.training.ranks import ALONE, Rank
from db3.training.rates import learning_rates

_ROWS = 50  # most rows of a history: enough for a curve, few enough to cost nothing
_CHUNK = 256  # images per call when the held-out part is measured


@settings
class TrainSettings(Schedule):
    """How a network is trained: the course of the training, and its loss (see `student_loss`)."""

    temperature: Annotated[Positive, Doc("the student's inside the KL")] = 1.0
    ce: Annotated[float, Ge(0), Doc("weight of the cross-entropy with the decision")] = 1.0
    kl: Annotated[float, Ge(0), Doc("weight of KL(soft label || student)")] = 0.0

    def rates(self) -> list[float]:
        """Learning rate of each step, see `learning_rates`."""
        return learning_rates(self)


@dataclass(frozen=True)
class HistoryRow:
    """A point of the training curve: steps done, mean loss since the row before, learning rate of the last step."""

    step: int
    loss: float
    lr: float


def train(
    network: nn.Module,
    examples: Examples,
    settings: TrainSettings,
    seed: int,
    *,
    groups: Sequence[Group] = (),
    on_step: Callable[[], object] | None = None,
    device: str = "cpu",
    rank: Rank = ALONE,
    checkpoint: Checkpoint | None = None,
) -> list[HistoryRow]:
    """Train `network` in place and leave it on the CPU in evaluation mode.

    Args:
        network: float32 images [n, C, H, W] in [0, 1] to logits [n, K]; in exact arithmetic, of layers that have a
            twin (`db3.arithmetic.to_exact`).
        examples: what it learns from. With `select: best` a part is kept aside, drawn by (seed).
        settings: how.
        seed: decides the order of the examples, their changes, dropout, and the part kept aside.
        groups: further examples, each with its share of every batch; `examples` have the rest. Each part runs through
            its own epochs, in an order keyed by (seed, name), and the loss is the mean over the batch. With none, a
            batch is all of `examples`.
        on_step: called after every step, e.g. `Progress.advance`; None: a long training shows its own progress.
        device: where to compute.
        rank: which of the processes that train the network together this is; each of them calls this function alike.
        checkpoint: where a training of one process begins if it was begun before, and keeps how far it has come.

    Returns:
        At most 50 rows, evenly spread; the last one is the last step.

    Raises:
        ConfigError: weights or a selection that the examples cannot serve, or a layer that has no exact twin.
        Db3Error: the loss became NaN or infinite; names the step, the learning rate and the remedy.
    """
    if settings.arithmetic == "exact":
        require_float64(device)
    keep_freed_memory()
    learnt, held = _split(len(examples), settings, seed)
    learner = learner_of(network, settings, seed, device, rank)
    course = _resumed(learner, checkpoint)
    drawn = parts(
        examples,
        groups,
        learnt,
        held,
        batch=settings.batch,
        ce=settings.ce,
        kl=settings.kl,
        temperature=settings.temperature,
        seed=seed,
        device=device,
        balance=settings.balance,
        begun=course.step,
    )
    assembly = Assembly(drawn, settings, seed, rank)
    rates, losses = settings.rates(), list[Tensor]()
    every = math.ceil(settings.steps / _ROWS)
    with counted("training", settings.steps - course.step, on_step) as told:
        for step in range(course.step, settings.steps):
            images, aims = assembly.batch(step)
            with _told(step, settings, rates[step]):
                losses.append(learner.step(images.to(device), aims, step, rates[step]))
            if (step + 1) % every == 0 or step + 1 == settings.steps:
                mean = _mean_loss(learner.whole_losses(torch.stack(losses)), step, settings, rates)
                course.step, losses = step + 1, []
                course.rows.append((step + 1, mean, rates[step]))
                if held is not None:
                    agreement = _agreement(learner, examples, held, device, rank)
                    # At equal agreement the later weights stand: they have learnt longer, at a lower rate.
                    if agreement >= course.agreement:
                        course.agreement, course.best = agreement, learner.weights()
                if checkpoint and checkpoint.due():
                    checkpoint.write(course, learner.state())
            told()
    learner.finish(course.best)
    return [HistoryRow(*row) for row in course.rows]


def _resumed(learner: Learner, checkpoint: Checkpoint | None) -> Course:
    """How far the training has come: the learner continues from there."""
    found = checkpoint.read() if checkpoint else None
    if found is None:
        return Course()
    course, state = found
    learner.restore(state)
    return course


def learner_of(network: nn.Module, settings: TrainSettings, seed: int, device: str, rank: Rank = ALONE) -> Learner:
    """The network in the arithmetic that the settings name, about to be trained."""
    kind = ExactLearner if settings.arithmetic == "exact" else Float32Learner
    return kind(network, seed, settings, device, rank)


def _split(count: int, settings: TrainSettings, seed: int) -> tuple[Indices, Indices | None]:
    """Indices to learn from and, with `select: best`, indices kept aside (one of each at least)."""
    if settings.select == "last":
        return np.arange(count), None
    if count < 2:
        raise ConfigError("select is best with 1 example; expected 2 or more, one to hold out: set select to last")
    order = np.array(permutation(count, seed, Purpose.HOLDOUT))
    kept = min(max(1, round(settings.holdout * count)), count - 1)
    return np.sort(order[kept:]), np.sort(order[:kept])


@contextmanager
def _told(step: int, settings: TrainSettings, lr: float) -> Iterator[None]:
    """Exact arithmetic refuses numbers that have grown beyond all bounds: say when that was, and what helps."""
    try:
        yield
    except ConfigError:
        raise
    except Db3Error as error:
        raise Db3Error(
            f"{error} (at step {step + 1} of {settings.steps}, with learning rate {lr:g}; lower lr (now "
            f"{settings.lr:g}) or lengthen warmup)"
        ) from error


def _mean_loss(losses: Tensor, step: int, settings: TrainSettings, rates: Sequence[float]) -> float:
    """Mean of the losses that end at `step`, correctly rounded; one transfer from the device for all of them."""
    values = losses.cpu().to(torch.float64)
    wrong = (~values.isfinite()).nonzero().flatten().tolist()
    if wrong:
        first = step - len(losses) + 1 + wrong[0]
        raise Db3Error(
            f"the loss became {values[wrong[0]]:g} at step {first + 1} of {settings.steps}, with learning rate "
            f"{rates[first]:g}; expected a finite loss: lower lr (now {settings.lr:g}) or lengthen warmup"
        )
    return math.fsum(values.tolist()) / len(values)


def _agreement(learner: Learner, examples: Examples, held: Indices, device: str, rank: Rank) -> float:
    """Share of the held-out examples that the network decides as their soft label, or the teacher, does."""
    mine, targets = rank.rows(len(held)), examples.targets()
    right = torch.zeros((), dtype=torch.int64, device=device)
    for start in range(mine.start, mine.stop, _CHUNK):
        rows = held[start : min(start + _CHUNK, mine.stop)]
        decided = learner.decide(pixels(examples.images[rows]).to(device))
        right += (decided == torch.from_numpy(targets[rows]).to(device)).sum()
    return int(rank.sum(right)) / len(held)
