"""One training loop for students and for the local teacher. Read it from top to bottom.

The result is a function of (network, examples, settings, seed): the same bytes at every run with the same number of
torch threads, also when several trainings run in threads of one process (nothing here touches a global generator).
On a GPU that holds as far as its kernels are deterministic. Several processes may share each batch, see
`db3.training.processes`; then it holds for the same number of them, and up to rounding for another.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn

from db3.errors import ConfigError, Db3Error
from db3.rng import Purpose, permutation
from db3.settings.declare import Doc, Ge, settings
from db3.settings.training import Positive, Schedule
from db3.training.augmentation import Augment
from db3.training.batch_norm import WholeBatchNorm
from db3.training.batches import Indices, Part, parts
from db3.training.examples import Examples, Group, pixels
from db3.training.losses import student_loss
from db3.training.random_layers import KeyedRandomness
from db3.training.ranks import ALONE, Rank

_ROWS = 50  # most rows of a history: enough for a curve, few enough to cost nothing
_CHUNK = 256  # images per call when the held-out part is measured


@settings
class TrainSettings(Schedule):
    """How a network is trained: the course of the training, and its loss (see `student_loss`)."""

    temperature: Annotated[Positive, Doc("the student's inside the KL")] = 1.0
    ce: Annotated[float, Ge(0), Doc("weight of the cross-entropy with the decision")] = 1.0
    kl: Annotated[float, Ge(0), Doc("weight of KL(soft label || student)")] = 0.0

    def lr_at(self, step: int) -> float:
        """Learning rate of a step (from 0): linear to `lr`, then half a cosine that would reach 0 at `steps`."""
        warmup = min(self.warmup, self.steps // 2)
        if step < warmup:
            return self.lr * (step + 1) / (warmup + 1)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (self.steps - warmup)))


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
    augment: Augment | None = None,
    device: str = "cpu",
    rank: Rank = ALONE,
) -> list[HistoryRow]:
    """Train `network` in place and leave it on the CPU in evaluation mode.

    Args:
        network: float32 images [n, C, H, W] in [0, 1] to logits [n, K].
        examples: what it learns from. With `select: best` a part is kept aside, drawn by (seed).
        settings: how.
        seed: decides the order of the examples, dropout, and the part kept aside.
        groups: further examples, each with its share of every batch; `examples` have the rest. Each part runs through
            its own epochs, in an order keyed by (seed, name), and the loss is the mean over the batch. With none, a
            batch is all of `examples`.
        on_step: called after every step, e.g. `Progress.advance`.
        augment: changes each batch, see `db3.training.augmentation`; numbers the groups' examples on after the first.
        device: where to compute.
        rank: which of the processes that train the network together this is; each of them calls this function alike.

    Returns:
        At most 50 rows, evenly spread; the last one is the last step.

    Raises:
        ConfigError: weights or a selection that the examples cannot serve.
        Db3Error: the loss became NaN or infinite; names the step, the learning rate and the remedy.
    """
    learnt, held = _split(len(examples), settings, seed)
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
    )

    network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    model = rank.joined(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
    history: list[HistoryRow] = []
    losses: list[Tensor] = []
    best_agreement, best_weights = -1.0, None
    every = math.ceil(settings.steps / _ROWS)

    mine = rank.rows(settings.batch)
    randomness = KeyedRandomness(seed, mine)
    norms = nullcontext() if mine.all else WholeBatchNorm(mine)
    for step in range(settings.steps):
        chosen = rank.share([next(part.batches) for part in drawn])
        levels = [part.examples.images[rows] for part, rows in zip(drawn, chosen, strict=True)]
        images = pixels(np.concatenate(levels), device)
        if augment:
            numbers = [part.first + rows for part, rows in zip(drawn, chosen, strict=True)]
            images = augment(images, step, np.concatenate(numbers))
        lr = optimiser.param_groups[0]["lr"] = settings.lr_at(step)

        optimiser.zero_grad()
        with randomness, norms:
            logits = model(images)
        loss = _loss(logits, drawn, chosen, settings.batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

        losses.append(loss.detach())
        if (step + 1) % every == 0 or step + 1 == settings.steps:
            history.append(HistoryRow(step + 1, _mean_loss(rank.sum(torch.stack(losses)), step, settings), lr))
            losses = []
            if held is not None:
                agreement = _agreement(network, examples, held, device, rank)
                # At equal agreement the later weights stand: they have learnt longer, at a lower rate.
                if agreement >= best_agreement:
                    best_agreement, best_weights = agreement, _copy(network)
        if on_step:
            on_step()

    if best_weights is not None:
        network.load_state_dict(best_weights)
    network.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return history


def _split(count: int, settings: TrainSettings, seed: int) -> tuple[Indices, Indices | None]:
    """Indices to learn from and, with `select: best`, indices kept aside (one of each at least)."""
    if settings.select == "last":
        return np.arange(count), None
    if count < 2:
        raise ConfigError("select is best with 1 example; expected 2 or more, one to hold out: set select to last")
    order = np.array(permutation(count, seed, Purpose.HOLDOUT))
    kept = min(max(1, round(settings.holdout * count)), count - 1)
    return np.sort(order[kept:]), np.sort(order[:kept])


def _loss(logits: Tensor, drawn: list[Part], chosen: list[Indices], batch: int) -> Tensor:
    """Mean over the batch: each part's own mean, times its share of the batch; this process's share of that mean."""
    losses = []
    for part, rows, answers in zip(drawn, chosen, torch.split(logits, [len(rows) for rows in chosen]), strict=True):
        if not len(rows):
            continue
        at = torch.from_numpy(rows).to(logits.device)
        soft = None if part.soft is None else part.soft[at]
        loss = student_loss(answers, part.decisions[at], soft, ce=part.ce, kl=part.kl, temperature=part.temperature)
        losses.append(loss * (len(rows) / batch))
    return torch.stack(losses).sum()


def _mean_loss(losses: Tensor, step: int, settings: TrainSettings) -> float:
    """Mean of the losses that end at `step`; one transfer from the device for all of them."""
    values = losses.cpu().to(torch.float64)
    wrong = (~values.isfinite()).nonzero().flatten().tolist()
    if wrong:
        first = step - len(losses) + 1 + wrong[0]
        raise Db3Error(
            f"the loss became {values[wrong[0]]:g} at step {first + 1} of {settings.steps}, with learning rate "
            f"{settings.lr_at(first):g}; expected a finite loss: lower lr (now {settings.lr:g}) or lengthen warmup"
        )
    return float(values.mean())


def _agreement(network: nn.Module, examples: Examples, held: Indices, device: str, rank: Rank) -> float:
    """Share of the held-out examples that the network decides as their soft label, or the teacher, does."""
    mine, targets = rank.rows(len(held)), examples.targets()
    right = torch.zeros((), dtype=torch.int64, device=device)
    network.eval()
    with torch.inference_mode():
        for start in range(mine.start, mine.stop, _CHUNK):
            rows = held[start : min(start + _CHUNK, mine.stop)]
            decided = network(pixels(examples.images[rows], device)).argmax(dim=1)
            right += (decided == torch.from_numpy(targets[rows]).to(device)).sum()
    network.train()
    return int(rank.sum(right)) / len(held)


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
