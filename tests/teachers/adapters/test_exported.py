"""Compiled PyTorch programs: torch.export and TorchScript."""

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from db3.errors import ConfigError, DataError, TeacherError
from db3.teachers.adapters.exported import ExportedTeacher, fetch_exported
from db3.teachers.adapters.foreign_model import ModelDescription
from db3.teachers.adapters.http_settings import Link
from db3.teachers.base import TeacherSpec
from tests.contracts.teacher import TeacherContract
from tests.teachers.models import CLASSES, SHAPE, SPEC, as_pt2, as_script, network, pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    as_pt2(folder / "lenet.pt2", network())
    as_pt2(folder / "five.pt2", network(), rows=5)
    as_script(folder / "lenet.pt", network())
    return folder


class _Program(TeacherContract):
    EXTRA = frozenset({"fixed_batch", "parameters"})
    FILE = ""

    @pytest.fixture
    def teacher(self, folder: Path) -> ExportedTeacher:
        return ExportedTeacher(folder / self.FILE, SPEC)

    def test_it_decides_as_its_network(self, teacher: ExportedTeacher) -> None:
        with torch.inference_mode():
            assert torch.equal(teacher.decide(pixels(8)), network()(pixels(8)).argmax(dim=1))


class TestExportedProgram(_Program):
    FILE = "lenet.pt2"


class TestTorchScript(_Program):
    FILE = "lenet.pt"


def description(checkpoint: Path) -> ModelDescription:
    return ModelDescription("exported", SHAPE, CLASSES, tuple("0123456789"), 8, checkpoint=checkpoint)


@pytest.mark.parametrize(("name", "rows"), [("lenet.pt2", 8), ("five.pt2", 5), ("lenet.pt", 8)])
def test_fetching_keeps_the_file_and_finds_its_rows(folder: Path, tmp_path: Path, name: str, rows: int) -> None:
    fetched = fetch_exported(description(folder / name), tmp_path, Link())
    assert fetched.call_batch == rows
    assert fetched.parameters == sum(weights.numel() for weights in network().parameters())
    assert (tmp_path / "model" / fetched.model["file"]).read_bytes() == (folder / name).read_bytes()


def test_a_program_of_other_images_is_one_line(folder: Path, tmp_path: Path) -> None:
    other = ModelDescription("exported", (3, 16, 16), CLASSES, tuple("0123456789"), 8, checkpoint=folder / "lenet.pt2")
    with pytest.raises(ConfigError, match=r"failed on 8 images of shape \[3, 16, 16\]") as raised:
        fetch_exported(other, tmp_path, Link())
    assert "\n" not in str(raised.value)


def test_another_number_of_classes_is_one_line(folder: Path, tmp_path: Path) -> None:
    other = ModelDescription("exported", SHAPE, 7, tuple("0123456"), 8, checkpoint=folder / "lenet.pt2")
    with pytest.raises(ConfigError, match=r"output of shape \[8, 10\] in float32; expected \[8, 7\] scores"):
        fetch_exported(other, tmp_path, Link())


class _Pair(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images.flatten(1), images.flatten(1)


def test_several_outputs_are_refused(tmp_path: Path) -> None:
    teacher = ExportedTeacher(as_pt2(tmp_path / "two.pt2", _Pair()), SPEC)
    with pytest.raises(TeacherError, match="gave tuple; expected one tensor"):
        teacher.decide(pixels(2))


@pytest.mark.parametrize("name", ["m.pt2", "m.pt"])
def test_damaged_and_foreign_files_are_one_line(tmp_path: Path, name: str) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme.txt", "no program")
    state = io.BytesIO()
    torch.save({"weight": torch.zeros(2)}, state)
    for content in (b"", b"text", archive.getvalue(), state.getvalue()):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"cannot open .*{name}") as raised:
            ExportedTeacher(tmp_path / name, SPEC)
        assert "\n" not in str(raised.value)


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("a pickle ran",))


def test_a_pickle_inside_an_archive_never_runs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """torch.export.load would unpickle the example inputs when they are no tensors."""
    bomb = io.BytesIO()
    torch.save({"x": _Bomb()}, bomb)
    replaced = 0
    with zipfile.ZipFile(folder / "lenet.pt2") as old, zipfile.ZipFile(tmp_path / "m.pt2", "w") as new:
        for name in old.namelist():
            inputs = "sample_inputs" in name and name.endswith(".pt")
            replaced += inputs
            new.writestr(name, bomb.getvalue() if inputs else old.read(name))
    assert replaced
    with pytest.raises(DataError, match="cannot open"):
        ExportedTeacher(tmp_path / "m.pt2", SPEC)
    assert "a pickle ran" not in capsys.readouterr().out


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"no known program; expected one of \.pt2"):
        fetch_exported(description(tmp_path / "m.bin"), tmp_path / "teacher", Link())


def test_the_call_shape_stays_the_specs(folder: Path) -> None:
    spec = TeacherSpec(SHAPE, (0.0, 1.0), CLASSES, 5, "five")
    assert ExportedTeacher(folder / "five.pt2", spec).decide(pixels(5)).shape == (5,)


def test_threads_may_open_it_at_once(folder: Path) -> None:
    """Each worker of a stage opens a teacher of its own; torch.export.load by itself fails then."""
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: ExportedTeacher(folder / "lenet.pt2", SPEC), range(4)))
        told = list(pool.map(lambda teacher: teacher.decide(pixels(8)), opened))
    assert all(torch.equal(answers, told[0]) for answers in told)
