"""What no teacher can be is refused before anything is asked."""

import math
from dataclasses import replace

import pytest

from db3.errors import TeacherError
from db3.teachers.base import TeacherSpec

SPEC = TeacherSpec((1, 8, 8), (0.0, 1.0), 10, 64, "a teacher")


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (0.5, 0.5), (0.0, math.inf), (math.nan, 1.0)])
def test_bounds_have_an_inside(bounds: tuple[float, float]) -> None:
    with pytest.raises(TeacherError, match=r"pixels span .* the smaller one first"):
        replace(SPEC, bounds=bounds)


@pytest.mark.parametrize("wrong", [{"input_shape": (0, 8, 8)}, {"classes": 0}, {"max_batch": 0}])
def test_there_is_one_of_everything(wrong: dict) -> None:
    with pytest.raises(TeacherError, match="expected 1 or more of each"):
        replace(SPEC, **wrong)
