"""The rule: what it takes is there, and what it says does not depend on anything else."""

import pytest

from db3.soft_labels import recipe


@pytest.mark.parametrize("queries", [0.0, 0.5, 7.0, 111.0])
@pytest.mark.parametrize("points", [False, True])
@pytest.mark.parametrize("answers", [False, True])
def test_a_recipe_takes_only_what_is_there(queries: float, points: bool, answers: bool) -> None:
    found = recipe(queries, points, answers)
    assert found.boundary_points == 0 or (points and queries > 0)
    assert found.queried_images == 0 or (answers and queries > 0)
    assert found.boundary_points + found.queried_images < 1
    assert found == recipe(queries, points, answers)


def test_answers_come_first_then_ties_then_labels_alone() -> None:
    assert recipe(16.0).mapping == "hard"
    assert recipe(16.0).queried_images > 0
    assert recipe(16.0, answers=False).boundary_points > 0
    assert recipe(16.0, points=False, answers=False).mapping == "margin"
    assert recipe(0.0) == recipe(16.0, points=False, answers=False)


def test_without_distances_bare_decisions_are_learnt() -> None:
    assert recipe(0.0, distances=False).mapping == "hard"
    assert recipe(0.0, distances=False).boundary_points + recipe(0.0, distances=False).queried_images == 0
