"""What foreign models return: decisions come out, or one line, never a wrong class."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from db3.errors import TeacherError
from db3.teachers.adapters.outputs import read_class, read_decisions

NAMES = ("cat", "dog", "cow")


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (np.array([[0.1, 0.9, 0.0], [3.0, 2.0, 1.0]], np.float32), [1, 0]),
        (np.array([[1, 1, 0], [0, 2, 2]], np.int8), [0, 1]),
        (np.array([[[[0.0]], [[1.0]], [[0.5]]], [[[1.0]], [[0.0]], [[0.0]]]]), [1, 0]),
        (np.array([2, 0], np.uint8), [2, 0]),
        (np.array([[2], [1]], np.int32), [2, 1]),
        ([1, 2], [1, 2]),
        (["dog", "cat"], [1, 0]),
        (np.array([b"cow", b"cat"], object), [2, 0]),
        (torch.tensor([[0.0, float("-inf"), 1.0], [0.0, 5.0, 1.0]]), [2, 1]),
    ],
)
def test_decisions_of_every_form(output: Any, expected: list[int]) -> None:
    told = read_decisions(output, 2, 3, "the model", NAMES)
    assert told.dtype == torch.int64
    assert told.tolist() == expected


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.zeros((3, 3)), "gave 3 answers to 2 images"),
        (np.float32(1), "gave a single value to 2 images"),
        (np.zeros((2, 4)), r"output of shape \[2, 4\] in float64; expected \[2, 3\] scores"),
        (np.zeros(2), r"output of shape \[2\] in float64"),
        (np.array([[0, np.nan, 1], [0, 0, 0]]), "gave NaN"),
        ([0, 3], r"answered class 3; expected 0 … 2"),
        ([0, -1], "answered class -1"),
        (np.array([True, False]), "in bool"),
        (["dog", "fox"], "answered 'fox'; expected one of cat, dog, cow"),
        (np.array(["dog", None], object), "answered None"),
        ([[1, 2], [3]], "no array"),
        (np.array([[1j, 0, 0], [0, 0, 0]]), "complex"),
    ],
)
def test_anything_else_is_refused_in_one_line(output: Any, message: str) -> None:
    with pytest.raises(TeacherError, match=message) as raised:
        read_decisions(output, 2, 3, "the model", NAMES)
    assert "\n" not in str(raised.value)


def test_names_beyond_the_classes_are_none() -> None:
    with pytest.raises(TeacherError, match="answered 'cow'"):
        read_decisions(["cow"], 1, 2, "the model", NAMES)


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        arrays.arrays(st.sampled_from([np.float32, np.int64, np.uint8, np.bool_]), arrays.array_shapes(max_dims=3)),
        st.recursive(st.none() | st.integers() | st.text(max_size=3) | st.floats(), st.lists, max_leaves=6),
    )
)
def test_whatever_comes_the_decisions_are_legal_or_refused(output: Any) -> None:
    try:
        told = read_decisions(output, 2, 3, "the model", NAMES)
    except TeacherError:
        return
    assert told.shape == (2,)
    assert ((told >= 0) & (told < 3)).all()


@pytest.mark.parametrize(("answer", "expected"), [(2, 2), ("dog", 1), ([0.1, 0.2, 0.7], 2)])
def test_one_answer_as_a_class(answer: Any, expected: int) -> None:
    assert read_class(answer, 3, "the endpoint", NAMES) == expected


@pytest.mark.parametrize("answer", [None, True, {}, 1.0, [1.0], "fox", 3, [0.1, None, 0.3], []])
def test_one_answer_that_is_no_class(answer: Any) -> None:
    with pytest.raises(TeacherError, match="the endpoint"):
        read_class(answer, 3, "the endpoint", NAMES)
