"""States of made samples, as the report shows them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int64, UInt8

_EACH = 3  # samples of a class in each state


@dataclass(frozen=True)
class Snapshots:
    """What the grid shows.

    Attributes:
        images: the pictured samples in each state.
        decisions: the teacher's decision on each of them, the same in all states.
        iterations: iterations done in each state.
        queries: queries asked by then, in all.
    """

    images: UInt8[np.ndarray, "s p c h w"]
    decisions: Int64[np.ndarray, " p"]
    iterations: tuple[int, ...]
    queries: tuple[int, ...]


def snapshots_by_round(
    images: UInt8[np.ndarray, "n c h w"], decisions: Int[np.ndarray, " n"], rounds: Int[np.ndarray, " n"]
) -> Snapshots:
    """For every round, the last images of each class asked by its end; black where there were none yet."""
    ends = np.flatnonzero(np.diff(rounds, append=rounds[-1] + 1)) + 1
    classes = np.unique(decisions)
    shown = np.zeros((len(ends), len(classes) * _EACH, *images.shape[1:]), np.uint8)
    for place, k in enumerate(classes):
        members = np.flatnonzero(decisions == k)
        for state, end in enumerate(ends):
            last = members[: np.searchsorted(members, end)][-_EACH:]
            shown[state, place * _EACH : place * _EACH + len(last)] = images[last]
    numbers = tuple(int(rounds[end - 1]) for end in ends)
    return Snapshots(shown, np.repeat(classes, _EACH), numbers, tuple(int(end) for end in ends))
