"""The format of sealed answers: what is read is what was written, or it is refused; and version 1 is read for ever."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db3.errors import DataError
from db3.teachers.answers.recording import Recording, described, empty, read_whole, spec_of, whole
from db3.teachers.base import TeacherSpec

OLD = Path(__file__).parent / "journals"
HERE = Path("answers.journal")
Call = tuple[int, tuple[int, ...], list[int]]
U32 = st.integers(0, 2**32 - 1)


def recorded(header: dict[str, Any], calls: list[Call]) -> Recording:
    answers = np.array([answer for _, _, told in calls for answer in told], np.int64)
    sizes = np.array([len(told) for _, _, told in calls], np.uint32)
    votes = np.array([votes for _, votes, _ in calls], np.uint32).reshape(-1, 3)
    digests = np.array([digest for digest, _, _ in calls], np.uint32)
    return Recording(header, sizes, digests, votes, answers, int(votes[:, 0].sum(dtype=np.int64)))


def calls_of(found: Recording) -> list[Call]:
    ends = np.cumsum(found.sizes, dtype=np.int64)
    answers = np.split(found.answers, ends[:-1]) if len(ends) else []
    columns = zip(found.digests.tolist(), found.votes.tolist(), answers, strict=True)
    return [(digest, tuple(votes), told.tolist()) for digest, votes, told in columns]


@st.composite
def recordings(draw: st.DrawFn) -> tuple[dict[str, Any], list[Call]]:
    classes = draw(st.sampled_from([2, 10, 256, 257, 65536]))
    answers = st.lists(st.integers(0, classes - 1), min_size=1, max_size=30)
    votes = st.one_of(st.none(), st.tuples(U32, U32, U32))
    calls = []
    for digest, voted, told in draw(st.lists(st.tuples(U32, votes, answers), max_size=8)):
        calls.append((digest, voted or (len(told), 0, 0), told))
    return {"classes": classes, "work": draw(st.text(max_size=5))}, calls


@given(st.lists(recordings(), max_size=3))
@settings(deadline=None)
def test_what_is_read_is_what_was_written(given: list[tuple[dict[str, Any], list[Call]]]) -> None:
    data = b"".join(whole(recorded(header, calls)) for header, calls in given)
    found = list(read_whole(data, HERE))
    assert [(one.header, calls_of(one)) for one in found] == [
        ({**header, "whole": True}, calls) for header, calls in given
    ]
    assert all(one.sent == one.total_votes for one in found)


def test_fuzzed_files_give_right_answers_or_are_refused() -> None:
    """Thousands of damaged files, seeded: flips, cuts, doubled and moved parts."""
    draw = random.Random(0)  # noqa: S311 - a seed, no secret
    refused = 0
    for _ in range(2000):
        header = {"classes": draw.choice([10, 300])}
        calls: list[Call] = []
        for _ in range(draw.randrange(6)):
            told = [draw.randrange(header["classes"]) for _ in range(draw.randrange(1, 12))]
            calls.append((draw.getrandbits(32), (len(told), 0, 0), told))
        good = whole(recorded(header, calls)) * draw.randrange(1, 3)
        bad = _damaged(draw, bytearray(good))
        try:
            found = list(read_whole(bad, HERE))
        except DataError as error:
            refused += str(error).startswith(f"{HERE} is ") and "\n" not in str(error)
            continue
        assert all(calls_of(one) == calls for one in found)
    assert refused > 1500


def _damaged(draw: random.Random, data: bytearray) -> bytes:
    kind = draw.randrange(5)
    place = draw.randrange(len(data))
    if kind == 0:
        data[place] ^= 1 << draw.randrange(8)
    elif kind == 1:
        del data[place:]
    elif kind == 2:
        del data[place : place + draw.randrange(1, 60)]
    elif kind == 3:
        data[place : place + 8] = draw.randbytes(8)
    else:
        data[place:place] = data[draw.randrange(len(data)) :][:60]
    return bytes(data)


def test_damage_is_refused_with_file_and_place() -> None:
    data = whole(recorded({"classes": 10}, [(1, (2, 0, 0), [4, 5])]))
    for bad in (data[:-1], data[:-1] + b"x", data + data[:-1]):
        with pytest.raises(DataError, match=r"answers.journal is damaged at byte \d+: .* restore this one file"):
            list(read_whole(bad, HERE))


def test_another_version_and_another_file_are_told_apart() -> None:
    with pytest.raises(DataError, match="is a 'db3 journal 2'; this db3 reads 'db3 journal 1'"):
        list(read_whole(b"db3 journal 2\nwhatever", HERE))
    with pytest.raises(DataError, match="is damaged at byte 0"):
        list(read_whole(b"\x93NUMPY", HERE))


def test_more_classes_than_two_bytes_tell_apart_are_refused() -> None:
    with pytest.raises(DataError, match="an answer is one of up to 65,536"):
        empty({"classes": 65537})


def test_a_query_takes_little_more_than_its_answer() -> None:
    """With what the calls cost, in calls as full as a search makes them."""
    for classes, maximum in ((10, 1.1), (1000, 2.1)):
        data = whole(recorded({"classes": classes}, [(7, (256, 0, 0), [1] * 256)] * 100))
        assert len(data) / 25_600 <= maximum


def test_a_header_tells_the_teacher_s_spec() -> None:
    spec = TeacherSpec((3, 8, 9), (0.0, 1.0), 17, 64, "abc", 256)
    assert spec_of(described(spec)) == spec


def test_what_version_0_1_sealed_is_read_for_ever() -> None:
    """Never write this file again: it was written by the first version, and later ones must read it."""
    first, second = read_whole((OLD / "sealed-1").read_bytes(), OLD / "sealed-1")
    assert first.header == {
        "classes": 300,
        "piece": 0,
        "teacher": {"identity": "abc"},
        "whole": True,
        "work": "search",
    }
    assert calls_of(first) == [(0x01020304, (7, 3, 1), [0, 1, 299]), (0xFFFFFFFF, (4, 2, 0), [256, 255])]
    assert first.sent == first.total_votes == 11
    assert second.header == {"classes": 10, "piece": 1, "spent": True, "whole": True, "work": "search"}
    assert calls_of(second) == [(7, (2, 0, 0), [4, 9]), (9, (1, 0, 0), [0])]


def test_the_sealed_part_of_an_open_journal_of_version_0_1_is_read() -> None:
    """That journal was written on after it was sealed; its sealed answers end at byte 198."""
    data = (OLD / "version-1").read_bytes()
    (found,) = read_whole(data[:198], OLD / "version-1")
    assert found.header == {"classes": 300, "key": "0123456789abcdef", "piece": 2, "whole": True, "work": "search"}
    assert calls_of(found) == [(0x01020304, (3, 0, 0), [0, 1, 299]), (0xFFFFFFFF, (5, 2, 1), [256, 255])]
    with pytest.raises(DataError, match="is damaged at byte 198"):
        list(read_whole(data, OLD / "version-1"))
