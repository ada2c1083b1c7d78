"""A Python function as a teacher."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from db3.errors import ConfigError, DataError, TeacherError
from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.callable import CallableTeacher, fetch_callable, find, open_callable
from db3.teachers.adapters.foreign_model import ModelDescription, StoredModel
from db3.teachers.adapters.http_settings import Link
from db3.teachers.base import TeacherSpec
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
