"""Every answer is sent for once, known by its content, kept before it is used, and never kept when it is wrong."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from db3.errors import BudgetSpent, DataError, TeacherError
from db3.teachers.adapters.batching import Batching
from db3.teachers.answers.answers import Answers
from db3.teachers.answers.digests import digest_images
from db3.teachers.answers.recorded import RecordedTeacher, Recorder, digest_call
from db3.teachers.answers.recording import read_whole, whole
from db3.teachers.answers.sqlite import SqliteDatabase
from db3.teachers.answers.store import Account, AnswerStore
from db3.teachers.base import Teacher, TeacherSpec
from db3.teachers.budget import Budget, Costs
from db3.teachers.decide import recheck
from db3.teachers.votes import Votes, asking_again
from db3.testing.analytic import Brightest
from tests.contracts.teacher import TeacherContract
from tests.teachers.unsteady import Unsteady

TRUTH = Brightest(torch.arange(12).view(3, 2, 2) % 4, max_batch=6)


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
        return TRUTH.decide(images)


class Asked:
    """A teacher's whole stack over one file; each is another run."""

    def __init__(self, file: Path, teacher: Teacher, total: int | None = None, votes: int = 1, scope: str = "") -> None:
        self.store = AnswerStore(SqliteDatabase(file))
        self.costs = Costs(limit=total)
        self.account = Account("abc", 4, scope=scope)
        adapter = Batching(teacher, pad=False, sending=self._sending, answered=self._answered)
        self.answers = Answers(adapter, self.store, self.account, self.costs)
        self.recorder = Recorder(Votes(self.answers, votes, self.costs), self.costs)
        self.decide = Budget(self.recorder, costs=self.costs).decide
        self.spec = TRUTH.spec

    def _sending(self, count: int) -> None:
        self.answers.sending(count)

    def _answered(self, place: int, decisions: Tensor) -> None:
        self.answers.answered(place, decisions)

    def __enter__(self) -> "Asked":
        return self

    def __exit__(self, *_: object) -> None:
        self.costs.known_at_end = self.store.balance(self.account)  # type: ignore[attr-defined]
        self.store.close()

    @property
    def sealed(self) -> bytes:
        header = {"classes": 4, "spent": True} if self.recorder.spent else {"classes": 4}
        return whole(self.recorder.recording(header))


class TestAnswers(TeacherContract):
    @pytest.fixture
    def teacher(self, tmp_path: Path) -> Iterator[Votes]:
        with Asked(tmp_path / "answers", TRUTH) as asked:
            yield Votes(asked.answers, 3, asked.costs)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 9), max_size=6), st.lists(st.integers(0, 6), max_size=3), st.integers(1, 3))
def test_however_often_it_is_interrupted_each_image_arrives_once(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], stops: list[int], votes: int
) -> None:
    file, teacher, calls = tmp_path_factory.mktemp("answers") / "file", Counting(), drawn(*sizes)
    known, seals = 0, list[bytes]()
    for stop in [*sorted(stops), len(calls), len(calls)]:
        with Asked(file, teacher, votes=votes) as asked:
            for images in calls[:stop]:
                assert torch.equal(asked.decide(images), TRUTH.decide(images))
        taken, costs = sum(sizes[:stop]), asked.costs
        each = 1 if votes == 1 else 2  # two that agree settle a vote of three
        assert (costs.asked, costs.known, costs.sent) == (taken, min(known, taken), each * max(0, taken - known))
        assert costs.votes == each * taken
        known = max(known, taken)
        seals.append(asked.sealed)
    assert teacher.arrived == sum(sizes) * (1 if votes == 1 else 2)
    assert seals[-1] == seals[-2]  # whatever was known before


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 60), st.integers(1, 3), st.integers(0, 60))
def test_the_budget_counts_what_is_sent_over_all_runs_and_a_larger_one_goes_on(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], total: int, votes: int, more: int
) -> None:
    file, teacher = tmp_path_factory.mktemp("answers") / "file", Counting()
    told, seals = [], []
    for allowed in (total, total, total + more):
        with Asked(file, teacher, allowed, votes) as asked:
            told.append(_until_spent(asked, drawn(*sizes)))
            assert asked.store.balance(asked.account)[0] == teacher.arrived <= allowed
        seals.append(asked.sealed)
    assert told[0] == told[1] <= told[2]
    assert seals[0] == seals[1]
    if told[2] < len(sizes):  # the next call could not have been sent with all its votes
        assert teacher.arrived + sizes[told[2]] * votes > total + more


def _until_spent(teacher: Any, calls: Sequence[Tensor]) -> int:
    """How many calls were answered; once one is refused all are, also one that could be sent."""
    for number, images in enumerate(calls):
        try:
            teacher.decide(images)
        except BudgetSpent:
            with pytest.raises(BudgetSpent):
                teacher.decide(images[:1])
            return number
    return len(calls)


def test_other_work_finds_the_answers_and_has_an_account_of_its_own(tmp_path: Path) -> None:
    (images,), teacher = drawn(20), Counting()
    with Asked(tmp_path / "file", teacher, 12, scope="one") as asked:
        asked.decide(images[:12])
        with pytest.raises(BudgetSpent):
            asked.decide(images[12:])
    with Asked(tmp_path / "file", teacher, 12, scope="two") as asked:
        asked.decide(images[5:])
        assert (asked.costs.known, asked.costs.sent) == (7, 8)
    assert teacher.arrived == 20


def test_equal_images_of_a_call_are_sent_once_and_answered_in_their_places(tmp_path: Path) -> None:
    (images,), teacher = drawn(5), Counting()
    call = images[torch.tensor([3, 0, 3, 3, 1, 0])]
    with Asked(tmp_path / "file", teacher) as asked:
        assert torch.equal(asked.decide(call), TRUTH.decide(call))
        assert (asked.costs.asked, asked.costs.known, asked.costs.sent, teacher.arrived) == (6, 3, 3, 3)


@pytest.mark.parametrize("wrong", [4, -1])
def test_a_wrong_answer_is_never_kept(tmp_path: Path, wrong: int) -> None:
    class Wrong(Counting):
        def decide(self, images: Tensor) -> Tensor:
            return torch.full((len(images),), wrong)

    (images,) = drawn(3)
    with Asked(tmp_path / "file", Wrong()) as asked:
        with pytest.raises(TeacherError):
            asked.decide(images)
        assert asked.store.balance(asked.account) == (3, 0)
    with Asked(tmp_path / "file", Counting()) as asked:
        assert torch.equal(asked.decide(images), TRUTH.decide(images))
        assert asked.costs.known == 0


class Failing(Counting):
    """Fails in its sixteenth call of six images."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def decide(self, images: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 16:
            raise TeacherError("gone")
        return super().decide(images)


@pytest.mark.parametrize("votes", [1, 3])
def test_what_was_answered_before_a_failure_is_kept(tmp_path: Path, votes: int) -> None:
    (images,), teacher = drawn(120), Failing()
    with Asked(tmp_path / "file", teacher, votes=votes) as asked, pytest.raises(TeacherError, match="gone"):
        asked.decide(images)
    assert teacher.arrived == 90
    with Asked(tmp_path / "file", teacher, votes=votes) as asked:
        assert torch.equal(asked.decide(images), TRUTH.decide(images))
        assert asked.store.balance(asked.account) == (teacher.arrived + 6, teacher.arrived)
    assert teacher.arrived == 120 * (1 if votes == 1 else 2)
    assert (asked.costs.known, asked.costs.sent) == ((90, 30) if votes == 1 else (0, 150))


def test_after_a_failure_nothing_is_asked_or_recorded_any_more(tmp_path: Path) -> None:
    """The driver may have one call more under way: its answers would stand in the place of the failed one's."""

    class Once(Counting):
        def decide(self, images: Tensor) -> Tensor:
            if not self.arrived:
                self.arrived += len(images)
                raise ConnectionError("the line is down")
            return super().decide(images)

    teacher, (first, second) = Once(), drawn(2, 3)
    with Asked(tmp_path / "file", teacher) as asked:
        for images in (first, second):
            with pytest.raises(ConnectionError):
                asked.decide(images)
    assert teacher.arrived == 2
    assert len(asked.recorder.recording({"classes": 4}).sizes) == 0


def test_known_votes_count_towards_the_number_wanted(tmp_path: Path) -> None:
    (images,), teacher = drawn(200), Unsteady(Counting(), 0.3)
    counted = teacher._teacher
    told = []
    for votes in (1, 3, 3):
        with Asked(tmp_path / "file", teacher, votes=votes) as asked:
            told.append(asked.decide(images))
    one, three, again = told
    assert torch.equal(three, again)
    assert (asked.costs.known, asked.costs.sent, asked.costs.compared) == (200, 0, 200)
    assert asked.costs.votes == counted.arrived > 400  # type: ignore[attr-defined]
    truth = TRUTH.decide(images)
    assert (three == truth).sum() > (one == truth).sum()


def test_a_killed_vote_goes_on_where_it_was_and_seals_the_same_bytes(tmp_path: Path) -> None:
    """Two runs of an unsteady teacher can only agree where every vote is known in its order."""
    (images,) = drawn(60)

    class Dying(Unsteady):
        left = 25

        def decide(self, images: Tensor) -> Tensor:
            self.left -= 1
            if not self.left:
                raise TeacherError("killed")
            return super().decide(images)

    with Asked(tmp_path / "file", Dying(TRUTH, 0.3), votes=5) as asked, pytest.raises(TeacherError):
        asked.decide(images)
    seals = []
    for _ in range(2):
        with Asked(tmp_path / "file", Unsteady(TRUTH, 0.3), votes=5) as asked:
            asked.decide(images)
        seals.append(asked.sealed)
    assert seals[0] == seals[1]
    (found,) = read_whole(seals[0], tmp_path)
    assert found.sent == found.total_votes == asked.costs.votes


@pytest.mark.parametrize("votes", [1, 3])
def test_a_recheck_is_asked_anew_and_known_only_as_a_recheck(tmp_path: Path, votes: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 3, 2, 2)).astype(np.uint8)
    images, teacher = torch.from_numpy(pixels).to(torch.float32) / 255, Unsteady(Counting(), 0.3)
    counted = teacher._teacher
    changed = []
    for _ in range(2):
        with Asked(tmp_path / "file", teacher, votes=votes) as asked:
            decisions = asked.decide(images).numpy()
            before = counted.arrived  # type: ignore[attr-defined]
            changed.append(recheck(asked, pixels, decisions, 300))
    assert counted.arrived == before  # type: ignore[attr-defined]
    assert changed[0] == changed[1]
    assert changed[0][0] == 300
    assert changed[0][1] > 20
    with Asked(tmp_path / "file", teacher, votes=votes) as asked:
        assert asked.decide(images).numpy().tolist() == decisions.tolist()
        with asking_again():
            assert (asked.decide(images).numpy() != decisions).sum() == changed[0][1]


def test_more_classes_than_a_byte_tells_apart(tmp_path: Path) -> None:
    spec = TeacherSpec((1, 1, 2), (0.0, 1.0), 1000, 64, "wide")

    class Wide:
        def __init__(self) -> None:
            self.spec = spec

        def decide(self, images: Tensor) -> Tensor:
            return (images.flatten(1).sum(1) * 499).round().to(torch.int64)

    images = torch.rand(50, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    store, costs = AnswerStore(SqliteDatabase(tmp_path / "file")), Costs()
    for _ in range(2):
        answers = Answers(Wide(), store, Account("wide", 1000), costs)
        assert torch.equal(Votes(answers, 1, costs).decide(images), Wide().decide(images))
    assert costs.known == 50
    store.close()


def test_an_image_is_known_by_the_pixels_that_the_teacher_is_shown() -> None:
    plain, coarse = (TeacherSpec((1, 1, 2), (0.0, 1.0), 4, 6, "x", levels) for levels in (0, 256))
    images = torch.tensor([[0.1, 0.5], [0.1 + 1e-6, 0.5], [0.5, 0.1]]).view(3, 1, 1, 2)
    assert len(set(digest_images(images, plain))) == 3
    first, second, third = digest_images(images, coarse)
    assert first == second != third
    assert {len(digest) for digest in digest_images(images, plain)} == {16}
    assert digest_images(images, plain) == [digest_images(image[None], plain)[0] for image in images]
    assert digest_images(images, plain) != digest_images(images.reshape(3, 1, 2, 1), plain)  # the shape counts
    spread = torch.stack([images, images], dim=1).unbind(dim=1)[0]
    assert digest_images(spread, plain) == digest_images(images, plain)


def test_the_digest_goes_on_from_call_to_call() -> None:
    first, second = drawn(3, 4)
    assert digest_call(second, digest_call(first)) == digest_call(torch.cat([first, second]))
    assert digest_call(second) != digest_call(second, digest_call(first))


def test_other_images_are_refused_with_file_and_call(tmp_path: Path) -> None:
    first, second = drawn(5, 6)
    with Asked(tmp_path / "file", Counting()) as asked:
        asked.decide(first)
        asked.decide(second)
    found = asked.recorder.recording({"classes": 4})
    changed = second.clone()
    changed[3, 1, 1, 1] += 2**-24
    for other in (changed, second[:5], second.flip(0)):
        teacher = RecordedTeacher(TRUTH.spec, found, Path("search.journal"))
        teacher.decide(first)
        with pytest.raises(DataError, match=r"journal, call 1: 6 images were asked, of digest [0-9a-f]{8}; now"):
            teacher.decide(other)


def test_a_recording_answers_alone_and_knows_its_end(tmp_path: Path) -> None:
    first, second = drawn(5, 6)
    with Asked(tmp_path / "file", Counting()) as asked:
        answers = asked.decide(first)
    found = asked.recorder.recording({"classes": 4})
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


class Slow(Counting):
    """Waits in its first call until somebody else has asked for the same images."""

    def __init__(self, begun: threading.Event, wait: threading.Event) -> None:
        super().__init__()
        self._begun, self._wait = begun, wait

    def decide(self, images: Tensor) -> Tensor:
        self._begun.set()
        assert self._wait.wait(60)
        return super().decide(images)


def test_two_who_ask_the_same_at_once_send_each_image_once(tmp_path: Path) -> None:
    (images,) = drawn(6)
    begun, wait = threading.Event(), threading.Event()
    slow, other = Slow(begun, wait), Counting()
    with Asked(tmp_path / "a.sqlite", slow) as one, Asked(tmp_path / "a.sqlite", other) as two:
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(one.decide, images[:4])
            assert begun.wait(60)
            second = pool.submit(two.decide, images)
            while other.arrived < 2:  # what nobody else is asking about does not wait
                time.sleep(0.01)
            wait.set()
            assert torch.equal(second.result(60)[:4], first.result(60))
        assert (slow.arrived, other.arrived) == (4, 2)
        assert (one.costs.known, two.costs.known) == (0, 4)


def test_after_a_failure_another_goes_on_with_what_was_claimed(tmp_path: Path) -> None:
    (images,) = drawn(96)
    other = Counting()
    with Asked(tmp_path / "a.sqlite", Failing()) as one, Asked(tmp_path / "a.sqlite", other) as two:
        with pytest.raises(TeacherError):
            one.decide(images)
        two.decide(images)
        assert other.arrived == 6
