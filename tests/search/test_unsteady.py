"""A teacher that changes its mind: searches end within their budget, on the answers they were given."""

from dataclasses import replace

import numpy as np
import pytest

from db3.search import SearchSettings, replay_distances, search_distances
from db3.teachers.budget import Costs
from db3.teachers.votes import Votes
from tests.search.problems import GREY, brightest, pool
from tests.search.test_levels import METHODS
from tests.teachers.unsteady import Unsteady


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_budgets_hold_and_the_journal_replays_what_was_told(name: str, rate: float) -> None:
    steady = brightest(GREY)
    images, method = pool(steady, 30), replace(METHODS[name], budget=60, points=3)
    found = search_distances(Unsteady(steady, rate), images, range(5), method)
    assert found.asked.max() <= 60
    assert not np.isnan(found.distances).any()
    again = replay_distances(steady.spec, images, range(5), method, found.answers)
    for field in ("distances", "asked", "points"):
        assert getattr(again, field).tobytes() == getattr(found, field).tobytes()


def test_a_majority_brings_distances_back() -> None:
    """Each answer of a bisection counts, so one wrong one shifts its distance; votes undo most of that."""
    steady = brightest(GREY)
    images, method = pool(steady, 40), SearchSettings("bd", budget=12)
    right = search_distances(steady, images, range(20), method).distances
    shifted = []
    for votes in (1, 7):
        teacher = Votes(Unsteady(steady, 0.05), votes, Costs())
        found = search_distances(teacher, images, range(20), method).distances
        shifted.append(float((np.abs(found - right) > 0.02 * right).mean()))
    assert shifted[0] > 0.1
    assert shifted[1] < shifted[0] / 5
