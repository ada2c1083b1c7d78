"""Batches: originals, and groups of other examples with a fixed share of every batch, each in epochs of its own."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from db3.arithmetic import power
from db3.errors import ConfigError
from db3.rng import Purpose, generator, permutation
from db3.training.examples import Examples, Group

Indices = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """What one kind of examples contributes to every batch.

    Attributes:
        examples: the images, on the disk or in memory.
        decisions, soft: their targets, on the device.
        batches: rows of each step, without end.
        ce, kl, temperature: of the loss.
        first: number of its first example, counted over all parts.
        size: of an epoch: examples that are learnt.
        count: of them in each batch.
    """

    examples: Examples
    decisions: Tensor
    soft: Tensor | None
    batches: Iterator[Indices]
    ce: float
    kl: float
    temperature: float
    first: int
    size: int
    count: int

    def seen(self, step: int) -> Indices:
        """How many epochs of it were over before each of its rows in batch `step`."""
        return (step * self.count + np.arange(self.count)) // self.size


def parts(
    examples: Examples,
    groups: Sequence[Group],
    learnt: Indices,
    held: Indices | None,
    *,
    batch: int,
    ce: float,
    kl: float,
    temperature: float,
    seed: int,
    device: str,
    balance: float = 0.0,
    begun: int = 0,
) -> list[Part]:
    """The originals first, with what the groups leave of a batch, then the groups.

    Args:
        examples: the originals.
        groups: what comes beside them.
        learnt: originals to learn.
        held: originals kept aside; their descendants in the groups are left out.
        batch: images per step, of all parts together.
        ce: weight of the cross-entropy of the originals.
        kl: weight of their divergence.
        temperature: of their divergence.
        seed: of the orders, with the group's name.
        device: where the targets shall lie.
        balance: of the originals' classes, see `class_weights`; 0: as often as they are.
        begun: steps done before.

    Raises:
        ConfigError: no room for originals in a batch, two groups of one name, or a group of which nothing is left.
    """
    if len({group.name for group in groups}) < len(groups):
        raise ConfigError(f"two groups have one name among {[group.name for group in groups]}: name them apart")
    counts = shares(batch, groups)
    weights = class_weights(np.asarray(examples.decisions)[learnt], balance) if balance else None
    stream = batches(learnt, counts[0], seed, weights=weights, begun=begun)
    drawn = [_part(examples, stream, (ce, kl, temperature), 0, device, (len(learnt), counts[0]))]
    first = len(examples)
    for group, count in zip(groups, counts[1:], strict=True):
        rows = group.without(np.empty(0, np.int64) if held is None else held)
        if not len(rows):
            raise ConfigError(
                f"every example of group {group.name} descends from an original that is held out: lower holdout, or "
                "set select to last"
            )
        loss = group.ce, group.kl, group.temperature
        stream = batches(rows, count, seed, group.name, begun=begun)
        drawn.append(_part(group.examples, stream, loss, first, device, (len(rows), count)))
        first += len(group.examples)
    return drawn


def shares(batch: int, groups: Sequence[Group]) -> list[int]:
    """Images of a batch for the originals and for each group: the groups' shares rounded, at least one; the rest.

    Raises:
        ConfigError: nothing is left for the originals.
    """
    counts = [max(1, round(group.share * batch)) for group in groups]
    if sum(counts) >= batch:
        held = ", ".join(f"{group.name} {group.share:g}" for group in groups)
        raise ConfigError(f"a batch of {batch} has no room for originals beside {held}: lower the shares")
    return [batch - sum(counts), *counts]


def batches(
    indices: Indices, batch: int, seed: int, *identity: str, weights: Weights | None = None, begun: int = 0
) -> Iterator[Indices]:
    """Full batches without end; epoch e is a permutation keyed by (seed, identity, e), and a batch may reach into the
    next.

    The first `begun` of them are left out.

    With weights, an epoch holds an index ⌊w⌋ or ⌈w⌉ times, w its weight times their number: w times on average.
    """
    over, within = divmod(begun * batch, max(1, len(indices)))
    stream = itertools.chain.from_iterable(
        _epoch(indices, seed, identity, epoch, weights) for epoch in itertools.count(over)
    )
    next(itertools.islice(stream, within, within), None)
    while True:
        yield np.array(list(itertools.islice(stream, batch)), dtype=np.int64)


def class_weights(decisions: npt.NDArray[np.integer[Any]], balance: float) -> Weights:
    """A weight for each example, ∝ (examples of its class)^−balance, that sum to 1: with 1, all classes count alike."""
    counts = np.bincount(decisions)
    # One power a class and a correctly rounded sum: a library's own may differ in the last bit between machines.
    powers = power(torch.from_numpy(np.maximum(counts, 1)).double(), -balance)
    total = math.fsum(float(each) * int(count) for each, count in zip(powers, counts, strict=True))
    weights: Weights = powers.numpy()[decisions] / total
    return weights


def _epoch(indices: Indices, seed: int, identity: tuple[str, ...], epoch: int, weights: Weights | None) -> Indices:
    order = np.array(permutation(len(indices), seed, Purpose.EPOCH, *identity, epoch), dtype=np.int64)
    if weights is None:
        return indices[order]
    drawn = generator(seed, Purpose.OFFSET, *identity, epoch)
    offset = float(torch.rand((), dtype=torch.float64, generator=drawn))
    # Systematic sampling: as many places as there are indices, at even distances along the summed weights.
    ends = np.floor(np.cumsum(weights) * len(indices) + offset).astype(np.int64)
    ends[-1] = len(indices)  # whatever the sum's rounding
    return np.repeat(indices, np.diff(ends, prepend=np.int64(0)))[order]


def _part(
    examples: Examples,
    rows: Iterator[Indices],
    loss: tuple[float, float, float],
    first: int,
    device: str,
    sizes: tuple[int, int],
) -> Part:
    decisions = torch.from_numpy(np.array(examples.decisions)).to(device)
    labels = examples.soft_labels
    soft = None if labels is None else torch.from_numpy(np.array(labels)).to(device)
    return Part(examples, decisions, soft, rows, *loss, first, *sizes)
