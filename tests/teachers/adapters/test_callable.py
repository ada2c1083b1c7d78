"""A Python function as a teacher."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from db3.errors import BudgetSpent, ConfigError, DataError, TeacherError
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.callable import CallableTeacher, fetch_callable, find, open_callable
from db3.teachers.adapters.foreign_model import ModelDescription, StoredModel
from db3.teachers.adapters.http_settings import Link
from db3.teachers.base import TeacherSpec
from db3.teachers.budget import Budget
from tests.contracts.teacher import TeacherContract

SPEC = TeacherSpec((1, 4, 4), (0.0, 1.0), 3, 8, "thirds of brightness")


def thirds(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.minimum((images.mean(axis=(1, 2, 3)) * 3).astype(np.int64), 2)


class TestCallableTeacher(TeacherContract):
    @pytest.fixture
    def teacher(self) -> CallableTeacher:
        return CallableTeacher(thirds, SPEC)


def test_every_call_is_announced_before_it_is_made_and_never_padded() -> None:
    log: list[tuple[str, int]] = []

    def answer(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        log.append(("asked", len(images)))
        return thirds(images)

    teacher = CallableTeacher(answer, SPEC)
    Batching(teacher, pad=False, sending=lambda count: log.append(("sending", count))).decide(torch.rand(10, 1, 4, 4))
    assert log == [("sending", 8), ("asked", 8), ("sending", 2), ("asked", 2)]


def test_a_sending_that_is_forbidden_asks_nothing() -> None:
    def forbid(count: int) -> None:
        raise PermissionError("no more")

    def answer(images: np.ndarray[Any, Any]) -> Any:
        raise AssertionError("was asked")

    with pytest.raises(PermissionError, match="no more"):
        Batching(CallableTeacher(answer, SPEC), pad=False, sending=forbid).decide(torch.rand(2, 1, 4, 4))


def test_a_function_that_raises_is_one_line() -> None:
    def fail(images: np.ndarray[Any, Any]) -> Any:
        raise ValueError("wrong\nin two lines")

    with pytest.raises(TeacherError, match=r"failed on 2 images \(ValueError: wrong in two lines\)") as raised:
        CallableTeacher(fail, SPEC).decide(torch.rand(2, 1, 4, 4))
    assert "\n" not in str(raised.value)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_teacher", raising=False)

    def write(text: str) -> Path:
        (tmp_path / "own_teacher.py").write_text(text)
        return tmp_path / "own_teacher.py"

    return write


def test_a_named_function_is_found_fetched_and_opened(module: Callable[[str], Path], tmp_path: Path) -> None:
    file = module("class Model:\n    def decide(self, images):\n        return ['b'] * len(images)\n\nown = Model()\n")
    description = ModelDescription(
        "callable", SPEC.input_shape, 3, ("a", "b", "c"), 8, function="own_teacher:own.decide"
    )
    model = fetch_callable(description, tmp_path, Link()).model | {"preprocessing": {}, "labels": ["a", "b", "c"]}
    assert open_callable(StoredModel({"model": model}, tmp_path, SPEC)).decide(torch.rand(2, 1, 4, 4)).tolist() == [
        1,
        1,
    ]
    file.write_text(file.read_text() + "# changed\n")
    with pytest.raises(DataError, match=r"the source of own_teacher:own\.decide changed"):
        open_callable(StoredModel({"model": model}, tmp_path, SPEC))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:f", "no_such_module cannot be imported"),
        ("math:no_such_function", "math has no no_such_function"),
        ("math:pi", "is no function but float"),
    ],
)
def test_a_wrong_name_is_one_line(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find(name)


def _flaky(fails: list[BaseException]) -> CallableTeacher:
    """A function that raises what it is given, one a call, and then answers as it should."""

    def function(images: np.ndarray[Any, Any]) -> Any:
        if fails:
            raise fails.pop(0)
        return [0] * len(images)

    return CallableTeacher(function, SPEC)


QUICK = Link(attempts=3, outage=0.5)


def test_a_function_that_fails_now_and_then_is_called_again_and_every_attempt_is_counted() -> None:
    teacher = Budget(Batching(_flaky([ValueError("busy"), KeyError("odd")]), pad=False, link=QUICK))
    assert teacher.decide(torch.rand(12, 1, 4, 4)).tolist() == [0] * 12
    assert (teacher.costs.asked, teacher.costs.sent) == (12, 12 + 2 * min(12, SPEC.max_batch))


def test_a_budget_ends_the_attempts() -> None:
    teacher = Budget(Batching(_flaky([ValueError("busy")]), pad=False, link=QUICK), total=SPEC.max_batch)
    with pytest.raises(BudgetSpent):
        teacher.decide(torch.rand(SPEC.max_batch, 1, 4, 4))
    assert teacher.costs.sent == SPEC.max_batch


def test_a_function_that_always_fails_is_one_line_that_says_how_often() -> None:
    teacher = Batching(_flaky([ValueError("no\nroom")] * 9), pad=False, link=QUICK)
    with pytest.raises(
        TeacherError, match=r"failed on 2 images \(ValueError: no room\); fix it .* \(in 3 attempts\)"
    ) as raised:
        teacher.decide(torch.rand(2, 1, 4, 4))
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value.__cause__, ValueError)


def test_a_server_behind_a_function_that_is_away_is_waited_for() -> None:
    away = [ConnectionRefusedError("refused") for _ in range(5)]
    assert Batching(_flaky([*away]), pad=False, link=Link(attempts=1, outage=30.0)).decide(
        torch.rand(2, 1, 4, 4)
    ).tolist() == [0, 0]
    begun = time.monotonic()
    with pytest.raises(TeacherError, match=r"\(for 0\.5 s\)"):
        Batching(_flaky(away * 99), pad=False, link=QUICK).decide(torch.rand(2, 1, 4, 4))
    assert 0.5 <= time.monotonic() - begun < 5.0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DataError("a message of its own")])
def test_what_is_meant_is_not_tried_again(error: BaseException) -> None:
    fails = [error, error]
    with pytest.raises(type(error)):
        Batching(_flaky(fails), pad=False, link=QUICK).decide(torch.rand(2, 1, 4, 4))
    assert len(fails) == 1


def test_one_failure_in_a_hundred_stops_no_run() -> None:
    """It took six to nine restarts by hand."""
    drawn = np.random.default_rng(0)

    def function(images: np.ndarray[Any, Any]) -> list[int]:
        if drawn.random() < 0.01:
            raise RuntimeError("one in a hundred")
        return [0] * len(images)

    teacher = Budget(Batching(CallableTeacher(function, SPEC), pad=False))
    teacher.decide(torch.rand(600 * SPEC.max_batch, 1, 4, 4))
    assert teacher.costs.asked == 600 * SPEC.max_batch < teacher.costs.sent


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda _: ["a", "z"], "answered 'z'; expected one of a, b, c"),
        (
            lambda _: [0.0, 1.0],
            r"output of shape \[2\] in float64; expected \[2, 3\] scores, or 2 integer classes or names",
        ),
        (lambda _: [True, False], "in bool; expected"),
        (lambda _: None, "gave None to 2 images"),
        (lambda _: [None, 1], "answered with no class; expected one"),
        (lambda _: [1], "gave 1 answers to 2 images"),
        (lambda _: [1, 2, 0], "gave 3 answers to 2 images"),
        (lambda _: (number for number in (1, 2)), "gave a single value to 2 images"),
        (lambda _: {"class": 1}, "gave a single value to 2 images"),
        (lambda _: np.zeros((2, 2)), r"output of shape \[2, 2\] in float64; expected \[2, 3\] scores"),
        (lambda _: [3, 1], "answered class 3; expected 0 … 2"),
    ],
)
def test_an_answer_that_is_none_is_one_line(answer: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(TeacherError, match=message) as raised:
        Batching(CallableTeacher(answer, SPEC, labels=("a", "b", "c")), pad=False).decide(torch.rand(2, 1, 4, 4))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64, list, torch.tensor])
def test_classes_of_any_type_are_taken(kind: Any) -> None:
    def function(_: Any) -> Any:
        return (
            np.array([2, 1]).astype(kind) if isinstance(kind, type) and issubclass(kind, np.generic) else kind([2, 1])
        )

    assert CallableTeacher(function, SPEC).decide(torch.rand(2, 1, 4, 4)).tolist() == [2, 1]


def test_names_that_two_classes_share_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"teacher\.labels names 'a' 2 times"):
        CallableTeacher(thirds, SPEC, labels=("a", "b", "a"))


def test_the_classes_of_a_function_are_mapped() -> None:
    teacher = CallableTeacher(lambda _: [1, 3], SPEC, classes_map=(None, 0, 1, 2))
    assert teacher.decide(torch.rand(2, 1, 4, 4)).tolist() == [0, 2]
