"""The rule: what it takes is there, and what it says does not depend on anything else."""

import pytest

from db3.soft_labels import recipe


@pytest.mark.parametrize("queries", [0.0, 0.5, 7.0, 111.0])
@pytest.mark.parametrize("points", [False, True])
@pytest.mark.parametrize("answers", [False, True])
def test_a_recipe_takes_only_what_is_there(queries: float, points: bool, answers: bool) -> None:
    found = recipe(queries, points, answers)
    assert found.ties == 0 or (points and queries > 0)
    assert found.answered == 0 or (answers and queries > 0)
    assert found.ties + found.answered < 1
    assert found == recipe(queries, points, answers)


def test_answers_come_first_then_ties_then_labels_alone() -> None:
    assert recipe(16.0).mapping == "hard"
    assert recipe(16.0).answered > 0
    assert recipe(16.0, answers=False).ties > 0
    assert recipe(16.0, points=False, answers=False).mapping == "margin"
    assert recipe(0.0) == recipe(16.0, points=False, answers=False)


def test_without_distances_bare_decisions_are_learnt() -> None:
    assert recipe(0.0, distances=False).mapping == "hard"
    assert recipe(0.0, distances=False).ties + recipe(0.0, distances=False).answered == 0
