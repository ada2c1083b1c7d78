"""Progress in a terminal (a real pseudo-terminal) and outside one."""

import os
import pty
import subprocess
import sys
import termios

import pytest

from db3.progress import Progress

LOOP = """
from db3.progress import Progress
with Progress("train", 40, "step") as progress:
    for _ in range(40):
        progress.advance()
"""


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
