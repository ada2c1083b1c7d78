"""The journal's format: what is read is what was written, or it is refused; and version 1 is read for ever."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db3.errors import DataError
from db3.teachers.answers.recording import (
    PART,
    SENT,
    TICK,
    Part,
    Recording,
    described,
    opening,
    part_payload,
    read_growing,
    read_whole,
    record,
    sent_payload,
    spec_of,
    tick_payload,
    whole,
)
from db3.teachers.base import TeacherSpec

OLD = Path(__file__).parent / "journals" / "version-1"
HERE = Path("answers.journal")


def grown(header: dict[str, object], ticks: list[tuple[int, tuple[int, int, int], list[int]]]) -> bytes:
    """A journal as it grows: a note before each tick."""
    data, check = opening(header)
    for digest, votes, answers in ticks:
        for kind, payload in (
            (SENT, sent_payload(votes[0])),
            (TICK, tick_payload(digest, votes, np.array(answers), int(header["classes"]))),  # type: ignore[call-overload]
        ):
            part, check = record(kind, payload, check)
            data += part
    return data


def ticks_of(found: Recording) -> list[tuple[int, tuple[int, ...], list[int]]]:
    ends = np.cumsum(found.sizes, dtype=np.int64)
    answers = np.split(found.answers, ends[:-1]) if len(ends) else []
    columns = zip(found.digests.tolist(), found.votes.tolist(), answers, strict=True)
    return [(digest, tuple(votes), told.tolist()) for digest, votes, told in columns]


U32 = st.integers(0, 2**32 - 1)


@st.composite
def journals(draw: st.DrawFn) -> tuple[dict[str, object], list[tuple[int, tuple[int, int, int], list[int]]]]:
    classes = draw(st.sampled_from([2, 10, 256, 257, 65536]))
    answers = st.lists(st.integers(0, classes - 1), min_size=1, max_size=30)
    votes = st.one_of(st.none(), st.tuples(U32, U32, U32))
    ticks = []
    for digest, voted, told in draw(st.lists(st.tuples(U32, votes, answers), max_size=8)):
        ticks.append((digest, voted or (len(told), 0, 0), told))
    return {"classes": classes, "work": draw(st.text(max_size=5))}, ticks


@given(journals())
@settings(deadline=None)
def test_what_is_read_is_what_was_written(
    journal: tuple[dict[str, object], list[tuple[int, tuple[int, int, int], list[int]]]],
) -> None:
    header, ticks = journal
    data = grown(header, ticks)
    found, _, end = read_growing(data, HERE)
    assert (found.header, ticks_of(found), end) == (header, ticks, len(data))
    assert found.sent == found.total_votes == sum(votes[0] for _, votes, _ in ticks)
    (snapshot,) = read_whole(whole(found), HERE)
    assert (snapshot.header, ticks_of(snapshot)) == ({**header, "whole": True}, ticks)
    again, _, _ = read_growing(whole(found), HERE)
    assert (ticks_of(again), again.sent) == (ticks, found.sent)


@given(journals(), st.data())
@settings(deadline=None)
def test_a_torn_tail_is_cut_off_and_nothing_else(
    journal: tuple[dict[str, object], list[tuple[int, tuple[int, int, int], list[int]]]], data: st.DataObject
) -> None:
    header, ticks = journal
    written = grown(header, ticks)
    first = len(opening(header)[0])
    keep = data.draw(st.integers(first, len(written)))
    tail = data.draw(st.one_of(st.just(b""), st.binary(max_size=40), st.integers(1, 4096).map(bytes)))
    found, check, end = read_growing(written[:keep] + tail, HERE)
    assert ticks == ticks_of(found) + ticks[len(found.sizes) :]
    # It can be gone on from there.
    more, _ = record(TICK, tick_payload(7, (1, 0, 0), np.array([1]), int(header["classes"])), check)  # type: ignore[call-overload]
    longer, _, _ = read_growing(written[:end] + more, HERE)
    assert ticks_of(longer) == [*ticks_of(found), (7, (1, 0, 0), [1])]


def test_fuzzed_journals_give_right_answers_or_are_refused() -> None:
    """Thousands of damaged files, seeded: flips, cuts, doubled and moved parts, of growing and of whole journals."""
    draw = random.Random(0)  # noqa: S311 - a seed, no secret
    refused = cut = 0
    for _ in range(3000):
        header = {"classes": draw.choice([10, 300])}
        ticks = []
        for _ in range(draw.randrange(6)):
            told = [draw.randrange(header["classes"]) for _ in range(draw.randrange(1, 12))]
            ticks.append((draw.getrandbits(32), (len(told), 0, 0), told))
        sealed = draw.random() < 0.3
        good = grown(header, ticks)
        part = Part(7, np.array([True, False, True]), np.array([1, 9]))
        good += record(PART, part_payload(part, header["classes"]), good[-8:])[0]
        if sealed:
            good = whole(read_growing(good, HERE)[0]) * draw.randrange(1, 3)
        bad = _damaged(draw, bytearray(good))
        try:
            found = list(read_whole(bad, HERE)) if sealed else [read_growing(bad, HERE)[0]]
        except DataError as error:
            refused += str(error).startswith(f"{HERE} is ") and "\n" not in str(error)
            continue
        for one in found:
            assert ticks_of(one) == ticks if sealed else ticks_of(one) == ticks[: len(one.sizes)]
            assert one.part is None or (not sealed and one.part.answers.tolist() == [1, 9])
            assert one.part is None or len(one.sizes) == len(ticks)
        cut += bad != good
    assert refused > 500
    assert cut > 100


def _damaged(draw: random.Random, data: bytearray) -> bytes:
    kind = draw.randrange(6)
    place = draw.randrange(len(data))
    if kind == 0:
        data[place] ^= 1 << draw.randrange(8)
    elif kind == 1:
        del data[place:]
    elif kind == 2:
        del data[place : place + draw.randrange(1, 60)]
    elif kind == 3:
        data[place : place + 8] = draw.randbytes(8)
    elif kind == 4:
        data[place:place] = data[draw.randrange(len(data)) :][:60]
    return bytes(data)


def test_damage_in_the_middle_is_refused_with_file_and_place() -> None:
    ticks = [(number, (3, 0, 0), [1, 2, 3]) for number in range(5)]
    data = bytearray(grown({"classes": 10}, ticks))
    first = len(opening({"classes": 10})[0])
    data[first + 10] ^= 1
    with pytest.raises(DataError, match=rf"answers.journal is damaged at byte {first}: .* delete it to send"):
        read_growing(bytes(data), HERE)


def test_a_damaged_snapshot_is_never_taken_for_a_torn_tail() -> None:
    found, _, _ = read_growing(grown({"classes": 10}, [(1, (2, 0, 0), [4, 5])]), HERE)
    data = whole(found)
    for bad in (data[:-1], data[:-1] + b"x"):
        with pytest.raises(DataError, match="is damaged at byte"):
            read_growing(bad, HERE)
        with pytest.raises(DataError, match="is damaged at byte"):
            list(read_whole(bad, HERE))


def test_another_version_and_another_file_are_told_apart() -> None:
    with pytest.raises(DataError, match="is a 'db3 journal 2'; this db3 reads 'db3 journal 1'"):
        read_growing(b"db3 journal 2\nwhatever", HERE)
    with pytest.raises(DataError, match="is damaged at byte 0"):
        read_growing(b"\x93NUMPY", HERE)


def test_more_classes_than_two_bytes_tell_apart_are_refused() -> None:
    with pytest.raises(DataError, match="a journal knows up to 65,536"):
        tick_payload(0, (1, 0, 0), np.array([1]), 65537)


def test_a_label_takes_two_bytes_at_most() -> None:
    """Also with what the ticks cost, in calls as full as a search makes them."""
    for classes, maximum in ((10, 1.2), (1000, 2.2)):
        told = [1] * 256
        data = grown({"classes": classes}, [(7, (256, 0, 0), told)] * 100)
        assert len(data) / 25_600 < maximum
        found, _, _ = read_growing(data, HERE)
        assert len(whole(found)) / 25_600 < maximum - 0.1


def test_a_header_tells_the_teacher_s_spec() -> None:
    spec = TeacherSpec((3, 8, 9), (0.0, 1.0), 17, 64, "abc", 256)
    assert spec_of(described(spec)) == spec


def test_a_journal_of_version_1_is_read_for_ever() -> None:
    """Never write this file again: it was written by the first version, and later ones must read it."""
    found, _, end = read_growing(OLD.read_bytes(), OLD)
    assert end == OLD.stat().st_size - 5  # a torn tail
    assert found.header == {"classes": 300, "key": "0123456789abcdef", "piece": 2, "whole": True, "work": "search"}
    assert ticks_of(found) == [
        (0x01020304, (3, 0, 0), [0, 1, 299]),
        (0xFFFFFFFF, (5, 2, 1), [256, 255]),
        (7, (1, 0, 0), [42]),
    ]
    assert found.sent == 12  # three of them brought no answer
    assert replace(found, sent=found.total_votes).total_votes == 9
