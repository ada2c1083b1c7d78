"""A teacher's folder: opened as the pipeline sees it, refused when its parts do not belong together."""

from pathlib import Path

import pytest
import torch

from db3.digest import digest_file
from db3.errors import DataError
from db3.files import read_json, write_json
from db3.networks import build, save_weights
from db3.teachers.budget import Budget
from db3.teachers.folder import CARD, WEIGHTS, identity, open_network, open_teacher, read_spec
from tests.contracts.teacher import TeacherContract

SHAPE = (1, 16, 16)


def write_folder(folder: Path, seed: int = 0, call_batch: int = 8) -> Path:
    network = build("lenet5_half", SHAPE, 10, mean=[0.5], std=[0.1], seed=seed)
    save_weights(network, folder / WEIGHTS, {})
    card = {
        "architecture": "lenet5_half",
        "input_shape": list(SHAPE),
        "bounds": [0.0, 1.0],
        "classes": 10,
        "call_batch": call_batch,
    }
    write_json(folder / CARD, {**card, "identity": identity(card, digest_file(folder / WEIGHTS))})
    return folder


class TestLocalTeacher(TeacherContract):
    EXTRA = frozenset({"costs"})

    @pytest.fixture
    def teacher(self, tmp_path: Path) -> Budget:
        return open_teacher(write_folder(tmp_path))


def test_it_decides_as_its_network(tmp_path: Path) -> None:
    teacher = open_teacher(write_folder(tmp_path))
    images = torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(teacher.decide(images), open_network(tmp_path)(images).argmax(dim=1))


def test_the_spec_can_be_read_alone(tmp_path: Path) -> None:
    write_folder(tmp_path, call_batch=32)
    spec = read_spec(tmp_path)
    assert spec == open_teacher(tmp_path).spec
    assert (spec.input_shape, spec.bounds, spec.classes, spec.max_batch) == (SHAPE, (0.0, 1.0), 10, 32)


def test_weights_and_call_shape_belong_to_the_identity(tmp_path: Path) -> None:
    folders = [
        write_folder(tmp_path / "a"),
        write_folder(tmp_path / "b", seed=1),
        write_folder(tmp_path / "c", call_batch=9),
    ]
    assert len({read_spec(folder).identity for folder in folders}) == 3
    assert read_spec(write_folder(tmp_path / "d")).identity == read_spec(folders[0]).identity


def test_replaced_weights_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    other = write_folder(tmp_path / "other", seed=1)
    (tmp_path / WEIGHTS).write_bytes((other / WEIGHTS).read_bytes())
    with pytest.raises(DataError, match=r"the weights were replaced; run the stage fetch_teacher again"):
        open_teacher(tmp_path)


def test_an_edited_card_is_refused(tmp_path: Path) -> None:
    card = read_json(write_folder(tmp_path) / CARD)
    write_json(tmp_path / CARD, {**card, "classes": 9})
    with pytest.raises(DataError, match="teacher identity"):
        open_teacher(tmp_path)


@pytest.mark.parametrize("name", [CARD, WEIGHTS])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (write_folder(tmp_path) / name).unlink()
    with pytest.raises(DataError, match=name):
        open_teacher(tmp_path)


@pytest.mark.parametrize("content", ["{", "{}", '{"identity": "0"}'])
def test_a_damaged_card_is_named(tmp_path: Path, content: str) -> None:
    write_folder(tmp_path)
    (tmp_path / CARD).write_text(content)
    with pytest.raises(DataError, match=CARD) as raised:
        open_teacher(tmp_path)
    assert "\n" not in str(raised.value)
