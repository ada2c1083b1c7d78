"""Training curves: means over seeds, thinned without losing the level."""

import numpy as np
import pytest

from db3.report.run import Loss
from db3.report.training import POINTS, mean_losses


def test_seeds_are_averaged_step_by_step() -> None:
    rows = [Loss("a", 0, 1, 2.0), Loss("a", 1, 1, 4.0), Loss("a", 0, 2, 1.0), Loss("b", 0, 1, 9.0)]
    assert mean_losses(rows) == {"a": [(1, 3.0), (2, 1.0)], "b": [(1, 9.0)]}


def test_long_curves_are_thinned_to_means() -> None:
    values = np.random.default_rng(0).random(POINTS * 7)
    curve = mean_losses([Loss("a", 0, step, float(value)) for step, value in enumerate(values)])["a"]
    assert len(curve) == POINTS
    assert np.mean([loss for _, loss in curve]) == pytest.approx(values.mean())


def test_a_diverged_student_leaves_the_others() -> None:
    assert mean_losses([Loss("a", 0, 1, float("nan")), Loss("a", 1, 1, 2.0), Loss("b", 0, 1, float("inf"))]) == {
        "a": [(1, 2.0)]
    }
