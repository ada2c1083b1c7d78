"""States of made samples, as the report shows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Int64, UInt8

from db3.files import read_array

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


def read_snapshots(data: Path, samples: Mapping[str, Any]) -> Snapshots | None:
    """The states to show; None for real samples.

    Args:
        data: the folder of docs/pipeline.md.
        samples: manifest of the samples.
    """
    folder = data / "samples"
    if samples["method"] == "zsdb3":
        pictured, states = read_array(folder / "pictured.npy", mapped=False), samples["snapshots"]
        return Snapshots(
            read_array(folder / "snapshots.npy", mapped=False),
            read_array(folder / "decisions.npy", mapped=False)[pictured],
            tuple(int(state["iterations"]) for state in states),
            tuple(int(state["queries"]) for state in states),
        )
    if (folder / "rounds.npy").is_file():
        arrays = (read_array(folder / f"{name}.npy") for name in ("images", "decisions", "rounds"))
        return by_round(*arrays)
    return None


def by_round(
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
