"""What a variant learns from without some of the samples: neither they nor any image that descends from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from db3.rng import Purpose, permutation
from db3.students.variants import Variant
from db3.training.examples import Examples, Group, descend_from_none

Places = Int64[np.ndarray, " _"]


@dataclass(frozen=True)
class Fold:
    """Variants that never saw some of the samples.

    Attributes:
        held: the samples held out, as places among the samples, rising.
        variants: what is left of each to learn from.
    """

    held: Places
    variants: tuple[Variant, ...]


def cross_validate(variants: Sequence[Variant], samples: int, folds: int, seed: int) -> Iterator[Fold]:
    """Cut the samples into folds at random and take each away from every variant in turn.

    Args:
        variants: what they learn from; see `Variant.parents`.
        samples: n, how many there are.
        folds: how many to cut them into, 2 … n.
        seed: of the cut.
    """
    order = np.array(permutation(samples, seed, Purpose.STUDENT_CHOICE))
    for fold in range(folds):
        held = np.sort(order[fold::folds])
        yield Fold(held, tuple(without(variant, held) for variant in variants))


def without(variant: Variant, held: Places) -> Variant:
    """The variant without the samples held out and without all that descends from one of them.

    A group of which nothing is left goes too, and the rest takes its share.
    """
    parents = np.arange(len(variant.examples)) if variant.parents is None else variant.parents
    kept = descend_from_none(parents, held)
    groups = [_group(group, held) for group in variant.groups]
    return replace(
        variant,
        examples=_chosen(variant.examples, kept),
        parents=parents[kept],
        groups=tuple(group for group in groups if group is not None),
    )


def _group(group: Group, held: Places) -> Group | None:
    kept = group.without(held)
    if not len(kept):
        return None
    parents = None if group.parents is None else group.parents[kept]
    return replace(group, examples=_chosen(group.examples, kept), parents=parents)


def _chosen(examples: Examples, places: Places) -> Examples:
    soft = None if examples.soft_labels is None else examples.soft_labels[places]
    return Examples(examples.images[places], examples.decisions[places], soft)
