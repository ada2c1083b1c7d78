"""Progress in a terminal (a real pseudo-terminal) and outside one."""

import ast
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import db3
from db3.datasets import open_dataset
from db3.progress import Progress, show_progress

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


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_library_writes_nothing_of_its_own(stream: str) -> None:
    """No print, no warning, no write to a stream: progress, where it was asked for, is the only exception."""
    package = Path(db3.__file__).parent
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "print" not in called, path
        assert "warn" not in named, path
        assert stream not in named or path.name in WRITERS, path


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
    assert [line.split(",")[0] for line in lines] == [f"train: {n}/3 step" for n in (1, 2, 3, 3)]
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
