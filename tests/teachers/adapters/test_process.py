"""A program that is asked line by line: a real one, and one that does everything wrong."""

import base64
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from db3.errors import BudgetSpent, ConfigError, DataError, TeacherError
from db3.teachers.adapters.foreign_model import ModelDescription, StoredModel
from db3.teachers.adapters.http_settings import Link
from db3.teachers.adapters.outputs import Unclear
from db3.teachers.adapters.preprocessing import Preprocessing
from db3.teachers.adapters.process import ProcessTeacher, fetch_process, open_process
from db3.teachers.adapters.program import _program, program
from db3.teachers.base import TeacherSpec
from db3.teachers.budget import Costs
from tests.contracts.teacher import TeacherContract

NAMES = ("night", "dusk", "day")
SPEC = TeacherSpec((3, 4, 5), (0.0, 1.0), 3, 4, "thirds of brightness", levels=256)
QUICK = Link(timeout=60.0, attempts=2)
LEVELS = torch.tensor([0.1, 0.5, 0.9, 0.4, 0.8, 0.2]).view(-1, 1, 1, 1).expand(6, 3, 4, 5)
THIRDS = [0, 1, 2, 1, 2, 0]

# Names the third of brightness of a line of uint8 pixels; the rest is done by `answer`.
HEAD = """
import base64, os, sys, time
def third(line):
    pixels = base64.b64decode(line.rstrip(), validate=True)
    return ("night", "dusk", "day")[min(int(sum(pixels) / len(pixels) / 256 * 3), 2)]
def say(text):
    print(text, flush=True)
"""
PLAIN = "for line in sys.stdin: say(third(line))"


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    _program.cache_clear()


def script(folder: Path, body: str) -> list[str]:
    file = folder / "model.py"
    file.write_text(HEAD + body)
    return [sys.executable, str(file)]


def teacher_of(folder: Path, body: str, link: Link = QUICK, **more: object) -> ProcessTeacher:
    see = Preprocessing(dtype="uint8", scale=255.0)
    given = {"link": link, **more}
    return ProcessTeacher(script(folder, body), SPEC, NAMES, see, line="pixels", **given)  # type: ignore[arg-type]


class TestProcessTeacher(TeacherContract):
    @pytest.fixture
    def teacher(self, tmp_path: Path) -> ProcessTeacher:
        return teacher_of(tmp_path, PLAIN, Link())


def test_lines_of_png_hold_the_very_pixels(tmp_path: Path) -> None:
    body = "import io\nfrom PIL import Image\nfor line in sys.stdin:\n"
    body += "    say(Image.open(io.BytesIO(base64.b64decode(line))).getpixel((0, 0))[0] % 3)"
    images = (torch.arange(6) * 40).view(-1, 1, 1, 1).expand(6, 3, 4, 5) / 255
    told = ProcessTeacher(script(tmp_path, body), SPEC, link=Link()).decide(images)
    assert told.tolist() == [40 * k % 3 for k in range(6)]


def test_it_runs_once_and_is_asked_several_lines_ahead(tmp_path: Path) -> None:
    """The program reads two lines before it answers the first: possible with lines under way only."""
    body = f"open({str(tmp_path / 'starts')!r}, 'a').write('x')\nwhile line := sys.stdin.readline():\n"
    body += "    more = sys.stdin.readline()\n    say(third(line))\n    say(third(more))"
    teacher = teacher_of(tmp_path, body)
    for _ in range(3):
        assert teacher.decide(LEVELS).tolist() == THIRDS
    assert (tmp_path / "starts").read_text() == "x"


def test_what_it_writes_to_stderr_never_blocks_it(tmp_path: Path) -> None:
    body = "for line in sys.stdin:\n    sys.stderr.write('x' * 100_000)\n    say(third(line))"
    assert teacher_of(tmp_path, body).decide(LEVELS).tolist() == THIRDS


def test_a_program_that_dies_now_and_then_goes_on_where_it_was(tmp_path: Path) -> None:
    body = "for number, line in enumerate(sys.stdin):\n    if number == 2: sys.exit(3)\n    say(third(line))"
    costs, answered = Costs(), list[int]()
    teacher = teacher_of(
        tmp_path, body, sending=costs.send, answered=lambda place, told: answered.extend([place, *told.tolist()])
    )
    assert teacher.decide(LEVELS).tolist() == THIRDS
    assert answered == [value for pair in enumerate(THIRDS) for value in pair]
    assert 6 < costs.sent <= 6 + 2 * 4  # lines under way when it died are sent again


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "sys.exit('weights.bin is missing')",
            r"failed: it ended, .* status was 1; .* stderr: weights\.bin is missing",
        ),
        (
            "sys.stdin.readline(); time.sleep(60)",
            r"failed: it printed no answer for 0\.3 s, its runtime\.link\.timeout .*: correct it, then run",
        ),
        (
            "sys.stdout = open(1, 'w', 9999)\nfor line in sys.stdin: print(third(line))\ntime.sleep(60)",
            "no answer .* flush",
        ),
        ("say('Loading model'); time.sleep(60)", "broke off: it printed 'Loading model'; expected one of night, dusk"),
        ("for line in sys.stdin: say(third(line) + '\\n')", r"broke off: it printed ''"),
        ("for line in sys.stdin: say(3)", "it printed '3'; expected one of .* 0 … 2"),
        ("for line in sys.stdin: say('null')", r"it answered with no class; expected one: declare in teacher\.unclear"),
        ("os.write(1, b'x' * 200_000); time.sleep(60)", "a line of more than 65,536 bytes"),
        ("os.write(1, bytes(range(128, 200)) + b'\\n'); time.sleep(60)", "broke off: it printed"),
        ("os.close(0); time.sleep(60)", "it reads no more|no answer"),
    ],
    ids=["dies", "hangs", "never flushes", "banner", "blank lines", "number", "null", "endless", "no UTF-8", "deaf"],
)
def test_whatever_it_does_wrong_is_one_line(tmp_path: Path, body: str, message: str) -> None:
    teacher = teacher_of(tmp_path, body, Link(timeout=0.3 if "no answer" in message else 60.0, attempts=2))
    with pytest.raises(TeacherError, match=message) as raised:
        teacher.decide(LEVELS)
    assert "\n" not in str(raised.value)


def test_a_line_too_many_is_found_before_the_next_image_is_sent(tmp_path: Path) -> None:
    body = "for line in sys.stdin:\n    say(third(line))\n    time.sleep(0.1)\n    say('night')"
    teacher, sent = teacher_of(tmp_path, body), list[int]()
    teacher.decide(LEVELS[:1])
    time.sleep(0.3)
    again = teacher_of(tmp_path, body, sending=sent.append)
    with pytest.raises(TeacherError, match="it printed 'night', which answers no image"):
        again.decide(LEVELS[:1])
    assert sent == []


def test_a_hanging_program_is_ended_and_started_again(tmp_path: Path) -> None:
    flag = tmp_path / "hung"
    body = f"flag = {str(flag)!r}\nfor line in sys.stdin:\n"
    body += "    if not os.path.exists(flag): open(flag, 'w').close(); time.sleep(60)\n    say(third(line))"
    link = Link(timeout=3.0, attempts=20)  # enough for a machine that is busy
    assert teacher_of(tmp_path, body, link).decide(LEVELS).tolist() == THIRDS


def test_null_is_no_class_as_declared_and_what_is_garbage_stays_an_error(tmp_path: Path) -> None:
    body = "for line in sys.stdin: say('null' if third(line) == 'dusk' else third(line))"
    four, costs = TeacherSpec((3, 4, 5), (0.0, 1.0), 4, 4, "and rejected", levels=256), Costs()
    see, unclear = Preprocessing(dtype="uint8", scale=255.0), Unclear(reject=True, counted=costs.count)
    teacher = ProcessTeacher(script(tmp_path, body), four, NAMES, see, line="pixels", unclear=unclear, link=QUICK)
    assert teacher.decide(LEVELS).tolist() == [0, 3, 2, 3, 2, 0]
    assert (costs.nothing, costs.off_list) == (2, 0)
    other = script(tmp_path, "for line in sys.stdin: say('noon')")
    _program.cache_clear()
    with pytest.raises(TeacherError, match="it printed 'noon'"):
        ProcessTeacher(other, four, NAMES, see, line="pixels", unclear=unclear, link=QUICK).decide(LEVELS)


def test_a_budget_ends_the_sending_and_what_was_under_way_is_answered(tmp_path: Path) -> None:
    costs, found = Costs(limit=3), list[int]()
    teacher = teacher_of(tmp_path, PLAIN, sending=costs.send, answered=lambda _, told: found.extend(told.tolist()))
    with pytest.raises(BudgetSpent):
        teacher.decide(LEVELS)
    assert found == THIRDS[:3]
    costs.limit = None
    assert teacher.decide(LEVELS).tolist() == THIRDS  # the same program, whose answers are still in step


def test_nothing_reads_the_command_but_the_program(tmp_path: Path) -> None:
    body = f"open({str(tmp_path / 'seen')!r}, 'w').write(sys.argv[1])\n{PLAIN}"
    see = Preprocessing(dtype="uint8", scale=255.0)
    command = [*script(tmp_path, body), "$HOME; touch x"]
    ProcessTeacher(command, SPEC, NAMES, see, line="pixels", link=QUICK).decide(LEVELS)
    assert (tmp_path / "seen").read_text() == "$HOME; touch x"


def test_its_children_end_with_it(tmp_path: Path) -> None:
    note = tmp_path / "child"
    body = "import subprocess\nchild = subprocess.Popen(['sleep', '60'])\n"
    body += f"open({str(note)!r}, 'w').write(str(child.pid))\n{PLAIN}"
    command = script(tmp_path, body)
    teacher_of(tmp_path, body).decide(LEVELS)
    program(tuple(command)).close()
    for _ in range(50):
        try:
            os.kill(int(note.read_text()), 0)
        except ProcessLookupError:
            return
        if "zombie" in Path(f"/proc/{note.read_text()}/status").read_text():
            return
        time.sleep(0.05)
    raise AssertionError("the child still runs")


def described(command: list[str], **more: object) -> ModelDescription:
    return ModelDescription("process", (3, 4, 5), 3, NAMES, 4, command=tuple(command), **more)  # type: ignore[arg-type]


def test_fetching_starts_nothing_and_its_files_are_part_of_it(tmp_path: Path) -> None:
    command = script(tmp_path, "raise SystemExit('never')")
    fetched = fetch_process(described(command), tmp_path, QUICK)
    assert set(fetched.model["files"]) == set(command)
    model = {**fetched.model, "preprocessing": {}, "labels": list(NAMES)}
    stored = StoredModel({"model": model}, tmp_path, SPEC, link=QUICK)
    open_process(stored)
    script(tmp_path, PLAIN)
    with pytest.raises(DataError, match=r"model\.py changed since the teacher was fetched"):
        open_process(stored)


@pytest.mark.parametrize(
    ("command", "message"),
    [(["./no-such-program"], "which is not here or not executable"), ([__file__], "not here or not executable")],
)
def test_no_program_is_one_line(tmp_path: Path, command: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fetch_process(described(command), tmp_path, QUICK)


def test_the_line_is_one_word_of_base64(tmp_path: Path) -> None:
    body = f"line = sys.stdin.readline()\nopen({str(tmp_path / 'line')!r}, 'w').write(line)\nsay('day')"
    teacher_of(tmp_path, body).decide(LEVELS[:1])
    line = (tmp_path / "line").read_text()
    assert line.endswith("\n")
    assert len(base64.b64decode(line[:-1], validate=True)) == 3 * 4 * 5
