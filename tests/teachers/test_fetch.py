"""Which classes a fetched teacher decides, its unclear answers' own beside them."""

import numpy as np
import pytest

from db3.errors import ConfigError, DataError
from db3.settings.declare import build
from db3.settings.teacher import TeacherSettings
from db3.teachers.fetch import REJECTED, clear_of, own_classes, with_rejected

NAMES = ["cat", "dog"]


def rejecting(unclear: str) -> TeacherSettings:
    return build(TeacherSettings, {"kind": "callable", "function": "in:memory", "unclear": unclear}, "teacher")


@pytest.mark.parametrize("unclear", ["reject", "skip"])
def test_unclear_answers_are_a_class_of_which_no_sample_is_needed(unclear: str) -> None:
    names = with_rejected(NAMES, rejecting(unclear))
    assert names == [*NAMES, REJECTED]
    assert own_classes(names, unclear) == NAMES


@pytest.mark.parametrize("unclear", ["error", None])
def test_a_class_of_the_user_that_is_called_rejected_is_one_like_the_others(unclear: str | None) -> None:
    assert own_classes([*NAMES, REJECTED], unclear) == [*NAMES, REJECTED]
    with pytest.raises(ConfigError, match="a class is called rejected already"):
        with_rejected([*NAMES, REJECTED], rejecting("reject"))


def test_of_samples_without_a_class_those_are_left_out_but_not_all() -> None:
    assert clear_of(np.array([0, 2, 1]), 2).tolist() == [True, False, True]
    with pytest.raises(DataError, match="none of the 2 samples a class"):
        clear_of(np.array([2, 2]), 2)
