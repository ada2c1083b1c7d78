"""Each study runs from its command, at toy size on the bundled digits, and writes every student's row and a table."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.studies import margins, transfer_images
from benchmarks.studies.__main__ import STUDIES, main
from benchmarks.studies.label_noise import Flipping
from benchmarks.studies.shared import Setting, as_teacher
from db3.errors import DataError
from db3.images.priors import prior_images
from db3.networks import build
from db3.pixels import to_floats

SIZES = {
    **{"--dataset": "digits", "--samples": 24, "--queries": 2, "--teacher-steps": 20, "--steps": 2, "--batch": 8},
    **{"--seeds": 2, "--tested": 40, "--measured": 6},
}
# The variants that a study takes here, and how many groups of students that makes.
WANTED = {
    "compression": ("hard,kd", 3 * 2),
    "label_noise": ("margin", 4),
    "transfer_images": ("augmented", 4),
    "pairs": ("student", 3 * 2),
    "calibration": ("inverse,student", 2),
    "margins": ("hard,margin", 2),
}


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained by the first study, opened by the others."""
    return tmp_path_factory.mktemp("teachers")


def run(name: str, tmp_path: Path, teachers: Path, kinds: str, *more: str) -> dict[str, Any]:
    sizes = [str(part) for pair in SIZES.items() for part in pair]
    folders = ["--root", str(tmp_path), "--teachers", str(teachers)]
    main([name, *sizes, *folders, "--kinds", kinds, "--json", str(tmp_path / "rows.json"), *more])
    result: dict[str, Any] = json.loads((tmp_path / "rows.json").read_text())
    return result


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_writes_all_its_seeds_and_their_means(
    name: str, tmp_path: Path, teachers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds, groups = WANTED[name]
    result = run(name, tmp_path, teachers, kinds)
    study, rows = STUDIES[name], result["rows"]
    assert f"benchmarks.studies {name}" in result["command"]
    assert {"commit", "setting", "seeds", "cpu_seconds"} <= result.keys()
    assert len(result["table"]) == groups
    assert len(rows) == 2 * groups
    for row in result["table"]:
        own = [other for other in rows if all(other[key] == row[key] for key in study.by)]
        assert [other["seed"] for other in own] == result["seeds"] == [0, 1]
        for measure in study.measures:
            assert row[measure]["mean"] == pytest.approx(np.mean([other[measure] for other in own]))
    assert f"| {' | '.join((*study.by, *study.measures))} |" in capsys.readouterr().out


def test_the_same_command_gives_the_same_rows(tmp_path: Path, teachers: Path) -> None:
    first = run("label_noise", tmp_path, teachers, "margin")
    assert run("label_noise", tmp_path, teachers, "margin")["rows"] == first["rows"]


@pytest.mark.parametrize("name", STUDIES)
def test_a_picture_is_drawn_from_the_table(name: str, tmp_path: Path, teachers: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra bench is not installed")
    kinds, _ = WANTED[name]
    run(name, tmp_path, teachers, kinds, "--plot", str(tmp_path / "picture.png"))
    assert 1000 < (tmp_path / "picture.png").stat().st_size < 100_000


def test_without_its_files_the_foreign_teacher_is_left_out_and_told(
    tmp_path: Path, teachers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run("transfer_images", tmp_path, teachers, "augmented")
    assert {row["teacher"] for row in result["rows"]} == {"digits, LeNet5"}
    assert "the CIFAR-10 teacher is left out" in capsys.readouterr().out
    with pytest.raises(DataError, match="holds neither"):
        transfer_images.foreign_problem(Setting(root=tmp_path))


def test_a_kind_that_a_study_cannot_build_is_refused_by_name(tmp_path: Path, teachers: Path) -> None:
    with pytest.raises(SystemExit, match=r"asks for kd; this study can build student: leave it out"):
        run("label_noise", tmp_path, teachers, "kd")


@pytest.mark.slow
def test_the_foreign_teacher_decides_cifar10(shared_data: Path) -> None:
    known = transfer_images.foreign_problem(Setting(root=shared_data, samples=10, tested=200))
    assert np.mean(known.decided == known.tested.labels) > 0.75
    assert known.images.shape == (10, 3, 32, 32)


def test_flipped_answers_follow_the_image_alone() -> None:
    teacher = as_teacher(build("lenet5_fifth", (1, 28, 28), 10, seed=0), 10)
    images = to_floats(prior_images((1, 28, 28), range(400), 0))
    told = teacher.decide(images)
    some, many = (Flipping(teacher, share).decide(images) != told for share in (0.05, 0.2))
    assert torch.equal(Flipping(teacher, 0.0).decide(images), told)
    assert 0.02 < some.float().mean() < 0.09
    assert 0.15 < many.float().mean() < 0.26
    assert bool((many | ~some).all())  # what is flipped at a small share is at a larger one
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Flipping(teacher, 0.2).decide(images[order]) != told[order], many[order])


def test_a_network_has_its_own_margins() -> None:
    network = build("lenet5_fifth", (1, 28, 28), 10, seed=0)
    images = prior_images((1, 28, 28), range(60), 0)
    decided, own = margins.distances(network, margins.Measured(images[:5], images, 10))
    assert (own[np.arange(5), decided] == 0).all()
    assert np.isfinite(own).any(axis=1).all()
    same = pytest.approx({"rank_images": 1.0, "rank_classes": 1.0, "ratio": 1.0})
    assert margins.compared(own, own) == same
    assert margins.compared(own, 2 * own)["ratio"] == 2.0


def test_crops_of_photographs_are_the_same_on_every_call() -> None:
    made = transfer_images.crops((3, 32, 32), 6)
    assert made.shape == (6, 3, 32, 32)
    assert np.array_equal(made, transfer_images.crops((3, 32, 32), 6))
    assert transfer_images.crops((1, 28, 28), 2).std() > 10


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--seeds", "0"], "error: --seeds is 0; expected 1 or more"),
        (["--teacher-steps", "-3"], "error: --teacher-steps is -3; expected 1 or more"),
        (["--json", "{file}/x.json"], "x.json: File exists; name another file"),
        (["--redraw", "--json", "{file}"], "file holds no result of the study margins"),
        (["--redraw", "--json", "{file}.none"], "cannot read"),
    ],
)
def test_what_cannot_be_is_one_line(more: list[str], told: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("{}")
    given = [word.format(file=tmp_path / "file") for word in more]
    with pytest.raises(SystemExit) as ended:
        main(["margins", "--json", str(tmp_path / "x.json"), "--root", str(tmp_path), *given])
    assert told in str(ended.value)
    assert "\n" not in str(ended.value)


def test_a_picture_without_matplotlib_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit, match="--plot needs the package matplotlib, which is not installed"):
        main(["margins", "--json", str(tmp_path / "x.json"), "--plot", str(tmp_path / "x.png")])
