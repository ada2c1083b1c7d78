"""Foreign models as teacher folders: a card that holds, and no model that was exchanged in silence."""

import dataclasses
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from db3.errors import ConfigError, DataError
from db3.files import read_json, write_json
from db3.report.provenance import KINDS
from db3.settings.teacher import NEEDS, Kind, TeacherSettings
from db3.teachers.adapters.catalogue import ADAPTERS, fetch_foreign
from db3.teachers.adapters.foreign_model import ModelDescription
from db3.teachers.adapters.http_settings import Link
from db3.teachers.adapters.preprocessing import Preprocessing
from db3.teachers.answers.place import close_answers, open_answers
from db3.teachers.folder import (
    CARD,
    answers_identity,
    digest_weights,
    identity,
    is_open,
    open_adapter,
    open_network,
    open_teacher,
    read_card,
    read_spec,
)
from tests.teachers.models import CLASSES, SHAPE, as_onnx, as_pt2, network, pixels

LABELS = tuple("0123456789")


def write_folder(folder: Path, kind: str, call_batch: int = 8, **description: Any) -> Path:
    """A teacher's folder as the stage fetch_teacher writes it."""
    fetched = fetch_foreign(ModelDescription(kind, SHAPE, CLASSES, LABELS, call_batch, **description), folder, Link())
    card: dict[str, Any] = {
        "kind": kind,
        "architecture": None,
        "input_shape": list(SHAPE),
        "bounds": [0.0, 1.0],
        "classes": CLASSES,
        "call_batch": fetched.call_batch,
        "model": fetched.model,
    }
    write_json(folder / CARD, {**card, "identity": identity(card, digest_weights(folder, card))})
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    as_onnx(folder / "m.onnx", network())
    as_onnx(folder / "other.onnx", network(seed=1))
    as_pt2(folder / "m.pt2", network())
    return folder


@pytest.mark.parametrize(("kind", "name"), [("onnx", "m.onnx"), ("exported", "m.pt2")])
def test_a_file_is_copied_opened_and_decides_as_its_network(files: Path, tmp_path: Path, kind: str, name: str) -> None:
    folder = write_folder(tmp_path, kind, checkpoint=files / name)
    teacher = open_teacher(folder)
    images = pixels(19)
    with torch.inference_mode():
        assert torch.equal(teacher.decide(images), network()(images).argmax(dim=1))
    assert teacher.spec == read_spec(folder)
    assert (teacher.costs.asked, is_open(read_card(folder))) == (19, False)


def test_the_identity_tells_models_and_what_they_see_apart(files: Path, tmp_path: Path) -> None:
    cards = [
        read_card(write_folder(tmp_path / str(number), "onnx", **description))
        for number, description in enumerate(
            [
                {"checkpoint": files / "m.onnx"},
                {"checkpoint": files / "other.onnx"},
                {"checkpoint": files / "m.onnx", "preprocessing": Preprocessing(mean=(0.5,))},
                {"checkpoint": files / "m.onnx", "call_batch": 9},
            ]
        )
    ]
    assert len({card["identity"] for card in cards}) == 4
    again = read_card(write_folder(tmp_path / "again", "onnx", checkpoint=files / "m.onnx"))
    assert again["identity"] == cards[0]["identity"]


def test_an_exchanged_file_is_refused(files: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "onnx", checkpoint=files / "m.onnx")
    (folder / "model/model.onnx").write_bytes((files / "other.onnx").read_bytes())
    with pytest.raises(DataError, match="were replaced; run the stage fetch_teacher again"):
        open_teacher(folder)


def test_edited_preprocessing_is_refused(files: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "onnx", checkpoint=files / "m.onnx")
    card = read_json(folder / CARD)
    card["model"]["preprocessing"] = {"scale": 255.0}
    write_json(folder / CARD, card)
    with pytest.raises(DataError, match="teacher identity"):
        open_teacher(folder)


def test_scores_of_a_foreign_model_are_never_opened(files: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "onnx", checkpoint=files / "m.onnx")
    with pytest.raises(DataError, match="kind onnx, which hides its scores"):
        open_network(folder)


def test_sending_reaches_a_function_that_may_cost_money(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "callable", function="tests.teachers.adapters.test_catalogue:brightness")
    sent: list[int] = []
    decided = open_adapter(folder, sending=sent.append).decide(pixels(19))
    assert sent == [8, 8, 3]
    assert decided.shape == (19,)


def test_a_fetched_teacher_with_a_store_is_asked_once(tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path / "teacher", "callable", function="tests.teachers.adapters.test_catalogue:brightness"
    )
    for sent, known in ((19, 0), (0, 19)):
        teacher = open_teacher(folder, answers=open_answers(tmp_path / "answers.sqlite"))
        assert torch.equal(teacher.decide(pixels(19)), open_adapter(folder).decide(pixels(19)))
        assert (teacher.costs.sent, teacher.costs.known) == (sent, known)
        close_answers()


def test_answers_are_of_a_model_whatever_its_votes_and_levels(tmp_path: Path) -> None:
    card = {"architecture": "lenet5", "input_shape": [1, 2, 2], "bounds": [0, 1], "classes": 4, "call_batch": 8}
    plain = answers_identity(card, "w")
    assert answers_identity({**card, "votes": 3, "quantise": "uint8"}, "w") == plain == identity(card, "w")
    assert answers_identity({**card, "call_batch": 9}, "w") != plain


def brightness(images: Any) -> Any:
    return (images.mean(axis=(1, 2, 3)) * 9).astype(int)


def test_a_missing_back_end_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    monkeypatch.delitem(__import__("sys").modules, "db3.teachers.adapters.onnx", raising=False)
    with pytest.raises(ConfigError, match=r"kind=onnx needs the package onnxruntime.*pip install 'db3\[onnx\]'"):
        write_folder(tmp_path, "onnx", checkpoint=tmp_path / "m.onnx")


def test_every_kind_is_listed_wherever_kinds_differ() -> None:
    """What it needs, how it is fetched and opened (beside the networks of db3), and what the report calls it."""
    kinds = set(get_args(Kind))
    assert kinds == set(NEEDS) == {"train", "checkpoint", *ADAPTERS} == set(KINDS)
    fields = {field.name for field in dataclasses.fields(TeacherSettings)}
    assert {name.partition(".")[0] for needed in NEEDS.values() for name in needed} <= fields


def test_an_unknown_kind_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown teacher\.kind 'tarot'; known here: callable, exported, http"):
        fetch_foreign(ModelDescription("tarot", SHAPE, CLASSES, LABELS), tmp_path)
    with pytest.raises(ConfigError, match=r"unknown teacher\.kind 'onx'; did you mean onnx\?"):
        fetch_foreign(ModelDescription("onx", SHAPE, CLASSES, LABELS), tmp_path)
