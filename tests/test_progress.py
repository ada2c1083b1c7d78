"""Progress in a terminal (a real pseudo-terminal) and outside one."""

import ast
import itertools
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

import db3
from db3.datasets import open_dataset
from db3.progress import Progress, show_progress
from db3.testing.analytic import Brightest

WRITERS = {"progress.py", "cli.py", "command.py"}  # the commands `db3` and `db3 answers`
LOOP = """
from db3.progress import Progress, show_progress
show_progress()
with Progress("train", 40, "step") as progress:
    for _ in range(40):
        progress.advance()
"""


@pytest.fixture(autouse=True)
def shown() -> Iterator[None]:
    show_progress()
    yield
    show_progress(False)


def test_nothing_is_shown_where_nobody_asked_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    show_progress(False)
    with Progress("query", 3, "query", every=0.0) as progress:
        progress.advance(3)
    assert capsys.readouterr() == ("", "")


def test_an_inner_part_is_shown_only_where_it_takes_long(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("short", 4, "img", inner=True) as progress:
        assert list(progress.over([[1, 2], [3, 4]])) == [[1, 2], [3, 4]]
    assert capsys.readouterr().err == ""
    with Progress("long", 4, "img", every=0.0, inner=True) as progress:
        for _ in progress.over([[1, 2], [3, 4]]):
            pass
    assert "long: 2/4 img" in (said := capsys.readouterr().err)
    assert "long: 4/4 img" in said


def test_rounds_and_their_trainings_are_no_silence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each phase that takes longer than the time between two lines is told of; here a minute passes at every look."""
    monkeypatch.setattr("db3.progress.time", SimpleNamespace(monotonic=itertools.count(0.0, 60.0).__next__))
    areas = torch.arange(64).view(1, 8, 8) % 2
    teacher = Brightest(areas)
    settings = db3.RoundSettings(count=2, pool=2, steps=3, batch=8, architecture="compact")
    db3.gather(teacher, 20, settings)
    said = capsys.readouterr().err
    for phase in ("gathering: 20/20 query", "training: 3/3 step", "making prior images: ", "making variations: "):
        assert phase in said
    db3.gather(teacher, 20, settings, on_asked=(counts := []).append)
    assert sum(counts) == 20


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_library_writes_nothing_of_its_own(stream: str) -> None:
    """No print, no warning, no write to a stream: progress, where it was asked for, is the only exception."""
    package = Path(db3.__file__).parent
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        named = {node.attr for node in attributes}
        own = {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "sys"}
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "print" not in called, path
        assert "warn" not in named, path
        assert stream not in own or path.name in WRITERS, path


def test_an_opened_dataset_reads_in_silence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    show_progress(False)
    for number, folder in enumerate(("a", "a", "b", "b")):
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.new("L", (8, 8), 60 * number).save(tmp_path / folder / f"{number}.png")
    dataset = open_dataset("image_folder", tmp_path, size=8, channels=1)
    assert len(dataset.train().images) + len(dataset.test().images) == 4
    assert capsys.readouterr() == ("", "")


def test_outside_a_terminal_there_is_one_line_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("query", 1000, "query", every=1000.0) as progress:
        progress.advance(400)
        progress.advance(600)
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("query: 1000/1000 query, ")
    assert line.endswith("query/s")
    assert "\r" not in said.err


def test_outside_a_terminal_lines_come_periodically(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("train", 3, "step", every=0.0) as progress:
        for _ in range(3):
            progress.advance()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"train: {n}/3 step" for n in (1, 2, 3)]
    assert lines[0].endswith(" left")
    assert not lines[2].endswith(" left")


def test_a_total_that_is_not_known_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("read", None, "image", every=1000.0) as progress:
        progress.advance(7)
    assert capsys.readouterr().err.startswith("read: 7 image, ")


def test_no_work_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("nothing", 0):
        pass
    assert capsys.readouterr().err == ""


def test_a_failed_loop_does_not_claim_an_end(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with Progress("train", 10, every=1000.0) as progress:
            progress.advance()
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert capsys.readouterr().err == ""


def test_in_a_terminal_there_is_a_bar_with_rate_and_eta() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    with subprocess.Popen([sys.executable, "-c", LOOP], stderr=theirs, stdout=subprocess.PIPE) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # how Linux says that the other end is closed
            pass
        assert process.wait() == 0
        assert process.stdout is not None
        assert process.stdout.read() == b""
    os.close(ours)
    text = shown.decode()
    assert "\r" in text
    assert "train:" in text
    assert "100%|" in text
    assert "40.0/40.0" in text
    assert "step/s" in text
    assert "<00:00" in text
    assert text.count("\n") == 1
