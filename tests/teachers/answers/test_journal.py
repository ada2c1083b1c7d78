"""The journal on the disk: nothing answered is lost, whatever ends the process; one process at a time."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from db3.errors import DataError
from db3.teachers.answers.journal import Journal, discard, read
from db3.teachers.answers.recording import read_whole

HEADER = {"classes": 10, "key": "ab"}


def told(*answers: int) -> np.ndarray:
    return np.array(answers, np.int64)


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    for number in range(3):
        with Journal(tmp_path, HEADER) as journal:
            assert journal.recording.answers.tolist() == list(range(number))
            journal.note(2)
            journal.append(number, (2, 1, 0), told(number))
    assert read(tmp_path / "journal").digests.tolist() == [0, 1, 2]
    assert (journal.sent, journal.votes) == (6, 6)


def test_what_is_known_of_a_failed_call_waits_for_its_answer(tmp_path: Path) -> None:
    known = np.array([True, False, True, True, False, False, False, False, True])
    with Journal(tmp_path, HEADER) as journal:
        journal.append(5, (1, 0, 0), told(1))
        journal.keep(6, known[:3], told(7, 8))
        journal.keep(6, known, told(7, 8, 9, 3))
    for _ in range(2):  # opening it rewrites it
        with Journal(tmp_path, HEADER) as journal:
            part = journal.recording.part
            assert part is not None
            assert (part.digest, part.known.tolist(), part.answers.tolist()) == (6, known.tolist(), [7, 8, 9, 3])
            assert journal.votes == 1
            (sealed,) = read_whole(journal.sealed(HEADER), tmp_path)
            assert (sealed.part, sealed.answers.tolist()) == (None, [1])
    with Journal(tmp_path, HEADER) as journal:
        journal.append(6, (9, 0, 0), told(7, 0, 8, 9, 0, 0, 0, 0, 3))
    assert read(tmp_path / "journal").part is None


def test_the_seal_knows_nothing_of_the_runs(tmp_path: Path) -> None:
    """Whatever was in flight at a kill, and however often it was opened, sealed bytes are the same."""
    seals = []
    for stops in (1, 5):
        for stop in range(stops):
            with Journal(tmp_path / str(stops), HEADER) as journal:
                for number in range(5)[len(journal.recording.sizes) :]:
                    if number > stop and stops > 1:
                        journal.note(7)  # in flight, never answered
                        break
                    journal.note(1)
                    journal.append(number, (1, 0, 0), told(number))
                seals.append(journal.sealed({"classes": 10}))
    assert seals[0] == seals[-1]
    assert journal.sent == 5 + 4 * 7
    assert journal.votes == 5


def test_another_header_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path, HEADER).close()
    with pytest.raises(DataError, match="journal is of key 'ab', but this work of 'cd': delete it"):
        Journal(tmp_path, {**HEADER, "key": "cd"})
    Journal(tmp_path, HEADER).close()  # and its lock is free again


def test_a_second_one_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path, HEADER), pytest.raises(DataError, match="another process is asking the teacher") as raised:
        Journal(tmp_path, HEADER)
    assert "\n" not in str(raised.value)


HOLD = """
import sys, time
from pathlib import Path
from db3.teachers.answers.journal import Journal
journal = Journal(Path(sys.argv[1]), {"classes": 10, "key": "ab"})
journal.note(3)
print("open", flush=True)
time.sleep(600)
"""


def test_two_processes_on_one_journal_and_a_lock_that_dies_with_its_process(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(DataError, match=r"another process is asking the teacher for .*: wait until it ends"):
            Journal(tmp_path, HEADER)
        discard(tmp_path)
        assert (tmp_path / "journal").exists()  # nobody takes it away either
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with Journal(tmp_path, HEADER) as journal:
        assert (journal.sent, journal.votes) == (3, 0)  # in flight at the kill


def test_a_discarded_journal_is_gone(tmp_path: Path) -> None:
    Journal(tmp_path / "one", HEADER).close()
    discard(tmp_path / "one")
    discard(tmp_path / "one")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path, HEADER)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, journal._file)
    os.close(full)
    with pytest.raises(DataError, match=r"cannot write .*journal: No space left on device; free some space"):
        journal.append(1, (1, 0, 0), told(1))
    journal.close()


class Life(RuleBasedStateMachine):
    """A journal that is written, killed, torn and opened again, against a list that nothing can hurt."""

    @initialize(folder=st.uuids())
    def begin(self, folder: object) -> None:
        import tempfile

        self.root = tempfile.TemporaryDirectory()
        self.folder = Path(self.root.name) / str(folder)
        self.ticks: list[list[int]] = []
        self.sent = 0
        self.journal: Journal | None = Journal(self.folder, HEADER)

    @precondition(lambda self: self.journal)
    @rule(answers=st.lists(st.integers(0, 9), min_size=1, max_size=9))
    def answered(self, answers: list[int]) -> None:
        assert self.journal
        self.journal.note(len(answers))
        self.journal.append(len(self.ticks), (len(answers), 0, 0), told(*answers))
        self.ticks.append(answers)
        self.sent += len(answers)

    @precondition(lambda self: self.journal)
    @rule(count=st.integers(1, 9))
    def in_flight(self, count: int) -> None:
        assert self.journal
        self.journal.note(count)
        self.sent += count

    @precondition(lambda self: self.journal)
    @rule(torn=st.binary(max_size=30))
    def died(self, torn: bytes) -> None:
        """The process ends; a last record may have been begun."""
        assert self.journal
        self.journal.close()
        with self.journal.path.open("ab") as file:
            file.write(torn)
        self.journal = None

    @precondition(lambda self: not self.journal)
    @rule()
    def resumed(self) -> None:
        self.journal = Journal(self.folder, HEADER)
        found = self.journal.recording
        assert found.answers.tolist() == [answer for tick in self.ticks for answer in tick]
        assert found.sizes.tolist() == [len(tick) for tick in self.ticks]
        assert found.digests.tolist() == list(range(len(self.ticks)))
        assert (self.journal.sent, self.journal.votes) == (self.sent, found.total_votes)

    def teardown(self) -> None:
        if getattr(self, "journal", None):
            self.journal.close()  # type: ignore[union-attr]
        if hasattr(self, "root"):
            self.root.cleanup()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
