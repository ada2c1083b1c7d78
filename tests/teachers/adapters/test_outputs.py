"""What foreign models return: decisions come out, or one line, never a wrong class."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from db3.errors import ConfigError, TeacherError
from db3.teachers.adapters.outputs import Unclear, check_naming, full_map, never_meant, read_class, read_decisions
from db3.teachers.budget import Costs

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
        (None, "gave None to 2 images"),
        (np.zeros((2, 4)), r"output of shape \[2, 4\] in float64; expected \[2, 3\] scores"),
        (np.zeros(2), r"output of shape \[2\] in float64; expected .* integer classes or names: answer with integers"),
        (np.array([[0, np.nan, 1], [0, 0, 0]]), "gave NaN"),
        ([0, 3], r"answered class 3; expected 0 … 2: set teacher\.classes_map=from_one where it counts from 1"),
        ([0, -1], "answered class -1"),
        (np.array([True, False]), "in bool"),
        (["dog", "fox"], "answered 'fox'; expected one of cat, dog, cow"),
        (np.array(["dog", None], object), "answered with no class"),
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


ORDER = [2, None, 0, 1]  # the model's own four classes as ours: its second is none of them


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (np.array([[0.1, 0.9, 0.5, 0.2], [0.3, 0.0, 0.1, 0.2]]), [0, 2]),  # its second column is left out
        (np.array([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]), [0, 0]),  # of a tie the lowest of our classes
        ([3, 0], [1, 2]),
        (["ox", "hen"], [1, 0]),
    ],
    ids=["scores", "tie", "integers", "names"],
)
def test_one_map_is_for_every_kind_of_output(output: Any, expected: list[int]) -> None:
    assert read_decisions(output, 2, 3, "the model", ("cat", "sky", "hen", "ox"), ORDER).tolist() == expected


def test_a_model_that_counts_from_one() -> None:
    counted = full_map("from_one", 3)
    assert read_decisions([1, 3, 2], 3, 3, "the model", classes_map=counted).tolist() == [0, 2, 1]
    with pytest.raises(TeacherError, match=r"answered its class 0, which teacher\.classes_map leaves out"):
        read_decisions([0], 1, 3, "the model", classes_map=counted)
    with pytest.raises(TeacherError, match=r"answered class 4; expected 0 … 3"):
        read_decisions([4], 1, 3, "the model", classes_map=counted)
    assert read_class(3, 3, "the endpoint", NAMES, counted) == 2


def test_classes_that_no_output_stands_for_are_known() -> None:
    assert never_meant(4, [0, None, 2, 0]) == [1, 3]
    assert never_meant(4, None) == never_meant(4, full_map("from_one", 4)) == []


@pytest.mark.parametrize(
    ("labels", "classes_map", "message"),
    [
        (("a", "b", "a"), None, r"teacher\.labels names 'a' 2 times; expected another"),
        ((), [0, 3], r"teacher\.classes_map says that the model's class 1 is class 3; expected 0 … 2, or null"),
        (("a", "b"), [0, 1, 2], r"teacher\.labels names 2 classes, teacher\.classes_map maps 3"),
    ],
)
def test_a_wrong_naming_is_one_line(labels: tuple[str, ...], classes_map: list[int] | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        check_naming(3, labels, classes_map)
    assert "\n" not in str(raised.value)


def test_scores_below_the_threshold_and_names_off_the_list_are_rejected_and_counted() -> None:
    costs = Costs()
    policy = Unclear(reject=True, counted=costs.count)
    scores, high = np.array([[0.4, 0.3, 0.3], [0.1, 0.8, 0.1]]), replace(policy, threshold=0.5)
    assert read_decisions(scores, 2, 4, "the model", NAMES, unclear=high).tolist() == [3, 1]
    assert read_decisions(["dog", "fox"], 2, 4, "the model", NAMES, unclear=policy).tolist() == [1, 3]
    assert read_decisions([7, 2], 2, 4, "the model", unclear=policy).tolist() == [3, 2]
    assert read_decisions([2, 1], 2, 4, "the model", None, [0, None, 2], policy).tolist() == [2, 3]
    assert read_decisions([None, ["cat"]], 2, 4, "the model", NAMES, unclear=policy).tolist() == [3, 0]
    assert (costs.nothing, costs.several, costs.off_list) == (2, 0, 3)
    with pytest.raises(TeacherError, match=r"gave 0\.4 as its best score, below teacher\.threshold of 0\.5"):
        read_decisions(scores, 2, 3, "the model", NAMES, unclear=Unclear(threshold=0.5))
    with pytest.raises(TeacherError, match="gave NaN"):  # a broken model is no unclear answer
        read_decisions(np.array([[np.nan, 0, 0]]), 1, 4, "the model", NAMES, unclear=policy)


@pytest.mark.parametrize("answers", [["dog"], [1], np.array([2])])
def test_a_threshold_is_never_passed_over_in_silence(answers: Any) -> None:
    with pytest.raises(
        TeacherError, match=r"with a class and no scores, of which teacher\.threshold is 0\.5: leave it"
    ):
        read_decisions(answers, 1, 3, "the model", NAMES, unclear=Unclear(threshold=0.5))


def test_a_score_that_is_none_of_ours_does_not_reach_the_threshold() -> None:
    scores, policy = np.array([[0.9, 0.1, 0.0]]), Unclear(reject=True, threshold=0.5)
    assert read_decisions(scores, 1, 3, "the model", None, [None, 0, 1], policy).tolist() == [2]
