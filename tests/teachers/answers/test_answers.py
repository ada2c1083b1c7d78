"""Every answer is asked for once, known for the very same images only, and never kept when it is wrong."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from db3.errors import BudgetSpent, DataError, TeacherError
from db3.teachers.adapters.batching import Batching
from db3.teachers.answers.answers import Answers
from db3.teachers.answers.journal import Journal, read
from db3.teachers.answers.recorded import JournalStore, RecordedTeacher, digest_images
from db3.teachers.base import PartlyAnsweredError, Teacher
from db3.teachers.budget import Budget, Costs
from db3.teachers.votes import Votes
from db3.testing.analytic import Brightest
from tests.contracts.teacher import TeacherContract
from tests.teachers.unsteady import Unsteady

TRUTH = Brightest(torch.arange(12).view(3, 2, 2) % 4, max_batch=6)
HEADER = {"classes": 4}


def drawn(*sizes: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(sum(sizes))
    return [torch.rand(size, 3, 2, 2, generator=draw) for size in sizes]


class Counting:
    """Counts what really arrives."""

    spec = TRUTH.spec

    def __init__(self) -> None:
        self.arrived = 0

    def decide(self, images: Tensor) -> Tensor:
        self.arrived += len(images)
        return Batching(TRUTH).decide(images)


class Announcing:
    """An adapter that takes any number of images."""

    spec = TRUTH.spec

    def __init__(self, teacher: Teacher, costs: Costs) -> None:
        self._teacher, self._costs = teacher, costs

    def decide(self, images: Tensor) -> Tensor:
        self._costs.send(len(images))
        return self._teacher.decide(images)


@contextmanager
def asking(folder: Path, teacher: Teacher, total: int | None = None, votes: int = 1) -> Iterator[Budget]:
    with Journal(folder, HEADER) as journal:
        costs = Costs(sent=journal.sent, limit=total, note=journal.note)
        adapter = Announcing(teacher, costs)
        layers = Answers(TRUTH.spec, lambda: Votes(adapter, votes, costs), JournalStore(journal), costs)
        yield Budget(layers, costs=costs)
        assert total is None or costs.sent <= total
        assert costs.sent == journal.sent


class TestAnswers(TeacherContract):
    EXTRA = frozenset({"spent"})

    @pytest.fixture
    def teacher(self, tmp_path: Path) -> Iterator[Answers]:
        costs = Costs()
        with Journal(tmp_path, HEADER) as journal:
            yield Answers(TRUTH.spec, lambda: Votes(Batching(TRUTH), 1, costs), JournalStore(journal), costs)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 9), max_size=8), st.lists(st.integers(0, 8), max_size=4))
def test_however_often_it_is_interrupted_each_image_arrives_once(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], stops: list[int]
) -> None:
    folder, teacher, calls = tmp_path_factory.mktemp("journal"), Counting(), drawn(*sizes)
    known = 0
    for stop in [*sorted(stops), len(calls)]:
        with asking(folder, teacher) as meter:
            for images in calls[:stop]:
                assert torch.equal(meter.decide(images), Batching(TRUTH).decide(images))
            asked = sum(sizes[:stop])
            costs = meter.costs
            assert (costs.asked, costs.known, costs.votes, costs.sent) == (asked, known, asked, asked)
            known = asked
    assert teacher.arrived == sum(sizes)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 60), st.integers(1, 3), st.integers(0, 60))
def test_the_budget_ends_it_at_the_same_call_and_a_larger_one_goes_on(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], total: int, votes: int, more: int
) -> None:
    folder, teacher = tmp_path_factory.mktemp("journal"), Counting()
    told = []
    for allowed in (total, total, total + more):
        with asking(folder, teacher, allowed, votes) as meter:
            told.append(_until_spent(meter, drawn(*sizes)))
        assert teacher.arrived <= allowed
    assert told[0] == told[1] <= told[2]
    if told[2] < len(sizes):  # the next call could not have been sent with all its votes
        assert teacher.arrived + sizes[told[2]] * votes > total + more


def _until_spent(teacher: Teacher, calls: Sequence[Tensor]) -> int:
    """How many calls were answered; once one is refused all are, also one that could be sent."""
    for number, images in enumerate(calls):
        try:
            teacher.decide(images)
        except BudgetSpent:
            with pytest.raises(BudgetSpent):
                teacher.decide(images[:1])
            return number
    return len(calls)


def test_other_images_are_refused_with_file_and_call(tmp_path: Path) -> None:
    first, second = drawn(5, 6)
    with asking(tmp_path, Counting()) as meter:
        meter.decide(first)
        meter.decide(second)
    changed = second.clone()
    changed[3, 1, 1, 1] += 2**-24
    for other in (changed, second[:5], second.flip(0)):
        with asking(tmp_path, Counting()) as meter:
            meter.decide(first)
            with pytest.raises(DataError, match=r"journal, call 1: 6 images were asked, of digest [0-9a-f]{8}; now"):
                meter.decide(other)


def test_the_digest_goes_on_from_call_to_call() -> None:
    first, second = drawn(3, 4)
    assert digest_images(second, digest_images(first)) == digest_images(torch.cat([first, second]))
    assert digest_images(second) != digest_images(second, digest_images(first))


@pytest.mark.parametrize("wrong", [4, -1])
def test_a_wrong_answer_is_never_recorded(tmp_path: Path, wrong: int) -> None:
    class Wrong(Counting):
        def decide(self, images: Tensor) -> Tensor:
            return torch.full((len(images),), wrong)

    (images,) = drawn(3)
    with asking(tmp_path, Wrong()) as meter, pytest.raises(TeacherError):
        meter.decide(images)
    found = read(tmp_path / "journal")
    assert (len(found.sizes), found.sent) == (0, 3)
    with asking(tmp_path, Counting()) as meter:
        assert torch.equal(meter.decide(images), Batching(TRUTH).decide(images))


def test_after_a_failure_nothing_is_asked_or_recorded_any_more(tmp_path: Path) -> None:
    """The driver may have one call more under way: its answers would stand in the place of the failed one's."""

    class Once(Counting):
        def decide(self, images: Tensor) -> Tensor:
            if not self.arrived:
                self.arrived += len(images)
                raise ConnectionError("the line is down")
            return super().decide(images)

    teacher, (first, second) = Once(), drawn(2, 3)
    with asking(tmp_path, teacher) as meter:
        for images in (first, second):
            with pytest.raises(ConnectionError):
                meter.decide(images)
    assert teacher.arrived == 2
    assert len(read(tmp_path / "journal").sizes) == 0


class Breaking(Counting):
    """Answers each image but those of one call, of which it knows a part by the time that it fails."""

    def __init__(self, cause: TeacherError | BudgetSpent) -> None:
        super().__init__()
        self.cause, self.left = cause, [3, 2]

    def decide(self, images: Tensor) -> Tensor:
        if len(images) < 5 or not self.left:
            return super().decide(images)
        known = torch.arange(len(images)) % self.left.pop(0) == 0
        decisions = torch.zeros(len(images), dtype=torch.int64)
        decisions[known] = super().decide(images[known])
        raise PartlyAnsweredError(self.cause, known, decisions)


@pytest.mark.parametrize("cause", [TeacherError("gone"), BudgetSpent("spent")])
def test_what_was_answered_before_a_failure_is_not_asked_again(
    tmp_path: Path, cause: TeacherError | BudgetSpent
) -> None:
    calls, teacher = drawn(2, 14, 4), Breaking(cause)
    for _ in range(2):
        with asking(tmp_path, teacher) as meter:
            meter.decide(calls[0])
            with pytest.raises(type(cause)) as raised:
                meter.decide(calls[1])
            assert raised.value is cause
    assert teacher.arrived == 2 + 5 + 5  # every third, then every second of the nine others
    with asking(tmp_path, teacher) as meter:
        for images in calls:
            assert torch.equal(meter.decide(images), Batching(TRUTH).decide(images))
        assert (meter.costs.asked, meter.costs.known, meter.costs.votes, meter.costs.sent) == (20, 12, 20, 33)
    assert teacher.arrived == 20
    recording = read(tmp_path / "journal")
    assert (recording.sizes.tolist(), recording.total_votes, recording.part) == ([2, 14, 4], 20, None)


def test_what_is_known_of_another_call_is_left_aside(tmp_path: Path) -> None:
    (images, others), teacher = drawn(6, 6), Breaking(TeacherError("gone"))
    with asking(tmp_path, teacher) as meter, pytest.raises(TeacherError):
        meter.decide(images)
    teacher.left = []
    with asking(tmp_path, teacher) as meter:
        assert torch.equal(meter.decide(others), Batching(TRUTH).decide(others))
        assert (meter.costs.known, meter.costs.votes) == (0, 6)


def test_a_vote_before_a_failure_decides_nothing(tmp_path: Path) -> None:
    (images,), teacher = drawn(6), Breaking(TeacherError("gone"))
    with asking(tmp_path, teacher, votes=3) as meter, pytest.raises(TeacherError):
        meter.decide(images)
    assert read(tmp_path / "journal").part is None


def test_votes_and_what_they_compare_are_known_too(tmp_path: Path) -> None:
    calls = drawn(*[20] * 6)
    teacher = Unsteady(Batching(TRUTH), 0.3)
    counts = []
    for stop in (3, 6, 6):
        with asking(tmp_path, teacher, votes=3) as meter:
            for images in calls[:stop]:
                meter.decide(images)
            counts.append((meter.costs.compared, meter.costs.changed))
    assert meter.costs.known == meter.costs.asked == 120
    assert counts[2] == counts[1]
    assert counts[1][0] == 120
    assert 0 < counts[0][1] < counts[1][1]
    found = read(tmp_path / "journal")
    assert found.sent == found.total_votes > 240
    assert found.votes[:, 1:].sum(axis=0).tolist() == list(counts[1])


def test_a_recording_answers_alone_and_knows_its_end(tmp_path: Path) -> None:
    first, second = drawn(5, 6)
    with asking(tmp_path, Counting()) as meter:
        answers = meter.decide(first)
    found = read(tmp_path / "journal")
    teacher = Budget(RecordedTeacher(TRUTH.spec, found, tmp_path))
    assert torch.equal(teacher.decide(first), answers)
    with pytest.raises(DataError, match="ends after 5 answers, but the search asks for more"):
        teacher.decide(second)
    found.header["spent"] = True
    alone = RecordedTeacher(TRUTH.spec, found, tmp_path)
    assert alone.left == 5
    alone.decide(first)
    assert alone.left == 0
    with pytest.raises(BudgetSpent, match="ends where the budget was spent"):
        alone.decide(second)
