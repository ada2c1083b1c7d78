"""Batches: originals, and groups of other examples with a fixed share of every batch, each in epochs of its own."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from db3.errors import ConfigError
from db3.rng import permutation
from db3.students.examples import Examples, Group

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """What one kind of examples contributes to every batch.

    Attributes:
        examples: the images, on the disk or in memory.
        decisions, soft: their targets, on the device.
        batches: rows of each step, without end.
        ce, kl, temperature: of the loss.
        first: number of its first example, counted over all parts.
    """

    examples: Examples
    decisions: Tensor
    soft: Tensor | None
    batches: Iterator[Indices]
    ce: float
    kl: float
    temperature: float
    first: int


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

    Raises:
        ConfigError: no room for originals in a batch, two groups of one name, or a group of which nothing is left.
    """
    if len({group.name for group in groups}) < len(groups):
        raise ConfigError(f"two groups have one name among {[group.name for group in groups]}: name them apart")
    counts = shares(batch, groups)
    drawn = [_part(examples, batches(learnt, counts[0], seed), (ce, kl, temperature), 0, device)]
    first = len(examples)
    for group, count in zip(groups, counts[1:], strict=True):
        rows = group.without(np.empty(0, np.int64) if held is None else held)
        if not len(rows):
            raise ConfigError(
                f"every example of group {group.name} descends from an original that is held out: lower holdout, or "
                "set select to last"
            )
        loss = group.ce, group.kl, group.temperature
        drawn.append(_part(group.examples, batches(rows, count, seed, group.name), loss, first, device))
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


def batches(indices: Indices, batch: int, seed: int, *identity: str) -> Iterator[Indices]:
    """Full batches without end; epoch e is a permutation keyed by (seed, identity, e), and a batch may reach into the
    next.
    """
    epochs = (permutation(len(indices), seed, *identity, "epoch", epoch) for epoch in itertools.count())
    stream = itertools.chain.from_iterable(epochs)
    while True:
        yield indices[list(itertools.islice(stream, batch))]


def _part(
    examples: Examples, rows: Iterator[Indices], loss: tuple[float, float, float], first: int, device: str
) -> Part:
    decisions = torch.from_numpy(np.array(examples.decisions)).to(device)
    labels = examples.soft_labels
    soft = None if labels is None else torch.from_numpy(np.array(labels)).to(device)
    return Part(examples, decisions, soft, rows, *loss, first)
