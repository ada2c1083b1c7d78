"""Distances and decisions as a search leaves them."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

Problem = tuple[np.ndarray, np.ndarray]  # type: ignore[type-arg]


def _problem(count: int = 40, classes: int = 6, unreached: float = 0.0, seed: int = 0) -> Problem:
    drawn = np.random.default_rng(seed)
    distances = drawn.uniform(0.3, 4, (count, classes)).astype(np.float32)
    distances[drawn.random(distances.shape) < unreached] = np.inf
    decisions = drawn.integers(0, classes, count)
    distances[np.arange(count), decisions] = 0
    return distances, decisions


@st.composite
def problems(draw: st.DrawFn, low: float = 2.0**-10, unreached: bool = True) -> Problem:
    """Any distances above `low`, some +inf, 0 at the decision."""
    count, classes = draw(st.integers(1, 6)), draw(st.integers(2, 6))
    reached = st.floats(low, 1e4, width=32)
    element = st.one_of(reached, st.just(np.inf)) if unreached else reached
    distances = draw(arrays(np.float32, (count, classes), elements=element))
    decisions = draw(arrays(np.int64, count, elements=st.integers(0, classes - 1)))
    distances[np.arange(count), decisions] = 0
    return distances, decisions


@pytest.fixture(scope="session")
def problem() -> Callable[..., Problem]:
    return _problem
