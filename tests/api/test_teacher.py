"""Whatever decides becomes a teacher; the same weights behind every kind decide alike."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import db3
from db3.errors import ConfigError, DataError, TeacherError
from db3.files import write_json
from db3.networks import save_weights
from db3.settings.teacher import Link
from tests.teachers.models import CLASSES, SHAPE, SPEC, as_onnx, as_pt2, network, pixels

IMAGES = pixels(70)
EXPECTED = network()(IMAGES).argmax(dim=1)


def decided(teacher: "db3.ModelTeacher") -> torch.Tensor:
    assert teacher.spec.input_shape == SHAPE
    assert teacher.spec.classes == CLASSES
    assert len(teacher.class_names) == CLASSES
    return teacher.decide(IMAGES)


def scores(images: np.ndarray) -> np.ndarray:
    return network()(torch.from_numpy(images)).detach().numpy()


def names(images: np.ndarray) -> list[str]:
    return [f"class {number}" for number in scores(images).argmax(axis=1)]


def test_every_kind_of_model_decides_alike(tmp_path: Path) -> None:
    labels = [f"class {number}" for number in range(CLASSES)]
    teachers = [
        db3.teacher(scores, shape=SHAPE, classes=CLASSES),
        db3.teacher(names, shape=SHAPE, labels=labels),
        db3.teacher(network(), shape=SHAPE, classes=CLASSES),
        db3.teacher(as_onnx(tmp_path / "model.onnx", network()), shape=SHAPE, classes=CLASSES),
        db3.teacher(str(as_pt2(tmp_path / "model.pt2", network())), shape=SHAPE, classes=CLASSES),
        db3.teacher(db3.NetworkTeacher(network(), SPEC)),
    ]
    for teacher in teachers:
        assert torch.equal(decided(teacher), EXPECTED), teacher
        assert teacher.costs.asked == len(IMAGES)
    assert teachers[1].class_names == tuple(labels)
    assert teachers[0].parameters is None
    assert teachers[2].parameters == sum(weights.numel() for weights in network().parameters())


def test_a_folder_of_the_pipelines(tmp_path: Path) -> None:
    from db3.teachers.folder import WEIGHTS, digest_weights, identity

    save_weights(network(), tmp_path / WEIGHTS, {})
    card = {"kind": "checkpoint", "architecture": "lenet5_half", "input_shape": list(SHAPE), "bounds": [0.0, 1.0]}
    card |= {"classes": CLASSES, "call_batch": 8, "quantise": "none", "votes": 1, "arithmetic": "exact"}
    write_json(tmp_path / "teacher.json", {**card, "identity": identity(card, digest_weights(tmp_path, card))})
    assert torch.equal(decided(db3.teacher(tmp_path)), EXPECTED)


def test_what_was_answered_is_kept_under_the_name(tmp_path: Path) -> None:
    answers, calls = db3.open_answers(tmp_path / "answers.sqlite"), []

    def counted(images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        return scores(images)

    first = db3.teacher(counted, shape=SHAPE, classes=CLASSES, name="vendor-7")
    assert torch.equal(first.open(100, answers).decide(IMAGES), EXPECTED)
    again = db3.teacher(counted, shape=SHAPE, classes=CLASSES, name="vendor-7").open(100, answers)
    assert torch.equal(again.decide(IMAGES), EXPECTED)
    assert (sum(calls), again.costs.known, first.sent(answers)) == (70, 70, 70)
    db3.teacher(counted, shape=SHAPE, classes=CLASSES, name="vendor-8").open(100, answers).decide(IMAGES)
    assert sum(calls) == 140
    with pytest.raises(db3.BudgetSpent, match="of 100 that may be"):
        again.decide(pixels(40, seed=5))


def test_a_call_that_hangs_is_given_up_and_what_was_answered_is_kept(tmp_path: Path) -> None:
    answers, calls, released = db3.open_answers(tmp_path / "answers.sqlite"), [], threading.Event()

    def stuck(images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        if len(calls) == 3:
            released.wait(60)
        return scores(images)

    def opened() -> "db3.Teacher":
        made = db3.teacher(stuck, shape=SHAPE, classes=CLASSES, name="vendor-7", call_batch=20, timeout=1.0)
        return made.open(None, answers)

    with pytest.raises(TeacherError, match=r"stuck had not answered 20 images after 1 s; what was answered before is"):
        opened().decide(IMAGES)
    released.set()
    assert calls == [20, 20, 20]  # it is not called again for what may still cost
    assert torch.equal(opened().decide(IMAGES), EXPECTED)
    assert calls[3:] == [20, 10]


def test_an_error_of_the_functions_own_is_not_taken_for_the_time_out() -> None:
    def late(images: np.ndarray) -> np.ndarray:
        raise TimeoutError("upstream")

    made = db3.teacher(late, shape=SHAPE, classes=CLASSES, timeout=50.0, link=Link(attempts=1, outage=0))
    with pytest.raises(TeacherError, match="TimeoutError: upstream"):
        made.decide(IMAGES)


@pytest.mark.parametrize(("model", "timeout"), [(network(), 1.0), (scores, 0.0), (scores, -1.0), ("m.onnx", 3.0)])
def test_a_time_out_that_nothing_can_keep_is_refused(model: object, timeout: float) -> None:
    with pytest.raises(ConfigError, match="timeout"):
        db3.teacher(model, shape=SHAPE, classes=CLASSES, timeout=timeout)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"shape is missing; expected \(channels, height, width\)"),
        ({"shape": SHAPE}, r"classes is missing; expected their number, as classes=10"),
        ({"shape": SHAPE, "classes": 1}, r"classes is 1; expected a whole number of 2 or more"),
        ({"shape": SHAPE, "labels": ["a", "a"]}, "labels names 'a' 2 times"),
        ({"shape": SHAPE, "classes": 3, "labels": ["a", "b"]}, "labels names 2 classes, but classes is 3"),
        ({"shape": SHAPE, "classes": 10, "meen": [0.5]}, r"teacher\.meen; did you mean teacher\.mean\?"),
        ({"shape": SHAPE, "classes": 10, "http": {"url": "http://x"}}, "http says nothing of a function"),
        ({"shape": SHAPE, "classes": 10, "votes": 0}, r"votes is 0; expected a whole number of 1 or more"),
        ({"shape": SHAPE, "classes": 10, "scale": -1.0}, r"scale is -1\.0; expected a number above 0"),
    ],
)
def test_what_is_missing_or_wrong_is_told(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        db3.teacher(scores, **given)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (7, ConfigError, "the model is int; expected a function, a network, a path"),
        ("vendor.h5", ConfigError, r"the model is 'vendor\.h5'; expected a file \.onnx"),
        ("no_such.onnx", DataError, r"cannot read no_such\.onnx: no such file"),
        ("no_such_module:decide", ConfigError, "no_such_module cannot be imported"),
        ("ftp://host", ConfigError, "expected a file"),
    ],
)
def test_what_is_no_model_is_refused(model: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        db3.teacher(model, shape=SHAPE, classes=CLASSES)


WITHOUT_TYPE_CHECKS = """
import db3
for call in (
    lambda: db3.teacher(len, shape=(16, 16), classes=10),
    lambda: db3.teacher(len, shape="16", classes=10),
    lambda: db3.plan_distillation(db3.teacher(len, shape=(1, 16, 16), classes=10).spec, 50, "100"),
):
    try:
        call()
    except db3.ConfigError as error:
        print(error)
"""


def test_what_type_checks_would_refuse_is_told_in_a_line_too() -> None:
    command = [sys.executable, "-c", WITHOUT_TYPE_CHECKS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shapes = "expected (channels, height, width) of one image, as shape=(3, 32, 32)"
    assert done.stdout.splitlines() == [
        f"shape is (16, 16); {shapes}",
        f"shape is '16'; {shapes}",
        "queries is '100'; expected how many images may be asked, 1 or more",
    ]
