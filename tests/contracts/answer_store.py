"""The contract of a store of answers as a test class: each database subclasses it with one fixture, `opened`."""

import multiprocessing
import pickle
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest

from db3.errors import BudgetSpent, DataError
from db3.teachers.answers.claims import LEASE, name_owner
from db3.teachers.answers.place import _database, close_answers, open_answers
from db3.teachers.answers.store import Account, AnswerStore

ACCOUNT = Account("a" * 64, 10, "http m at http://127.0.0.1", "scope")


def image(number: int) -> bytes:
    return number.to_bytes(16, "big")


def _write(place: str, worker: int, images: int, barrier: "multiprocessing.synchronize.Barrier") -> None:
    store = open_answers(place)
    barrier.wait(60)
    for number in range(images):
        store.commit(ACCOUNT, sent=1)
        store.commit(ACCOUNT, {image(number): bytes([worker])})
    store.close()


class AnswerStoreContract:
    """What `db3/teachers/answers/store.py` promises, for one database.

    Subclasses give the fixture `place`: a path or an address of an empty store.
    """

    @pytest.fixture
    def place(self) -> str:
        raise NotImplementedError("a subclass gives the place")

    @pytest.fixture
    def store(self, place: str) -> AnswerStore:
        return open_answers(place)

    def test_what_is_committed_is_found_by_whoever_opens_it(self, store: AnswerStore, place: str) -> None:
        assert store.find(ACCOUNT, [image(1)]) == {}
        assert store.commit(ACCOUNT, {image(1): b"\x03", image(2): b"\x04"}, sent=2) == {
            image(1): b"\x03",
            image(2): b"\x04",
        }
        close_answers()
        again = open_answers(place)
        assert again is not store
        assert again.find(ACCOUNT, [image(number) for number in range(3000)]) == {image(1): b"\x03", image(2): b"\x04"}
        assert again.balance(ACCOUNT) == (2, 2)

    def test_answers_stand_in_the_order_of_their_commits(self, store: AnswerStore) -> None:
        store.commit(ACCOUNT, {image(1): b"\x03"})
        assert store.commit(ACCOUNT, {image(1): b"\x04\x03", image(2): b"\x09"}) == {
            image(1): b"\x03\x04\x03",
            image(2): b"\x09",
        }

    def test_teachers_are_told_apart(self, store: AnswerStore) -> None:
        other = replace(ACCOUNT, teacher="b" * 64)
        store.commit(ACCOUNT, {image(1): b"\x03"})
        store.commit(other, {image(1): b"\x04"})
        assert store.find(ACCOUNT, [image(1)]) == {image(1): b"\x03"}
        assert store.find(other, [image(1)]) == {image(1): b"\x04"}
        with pytest.raises(DataError, match=r"knows the teacher bbbbbbbbbbbb with 10 classes, not 300") as raised:
            store.commit(replace(other, classes=300), {image(1): b"\x04\x00"})
        assert "\n" not in str(raised.value)

    def test_a_limit_refuses_what_is_too_many_and_keeps_what_came_back(self, store: AnswerStore) -> None:
        store.commit(ACCOUNT, sent=7, limit=10)
        with pytest.raises(BudgetSpent, match=r"4 images more would make 11 sent, of 10 that may be"):
            store.commit(ACCOUNT, {image(1): b"\x03"}, sent=4, limit=10)
        assert store.find(ACCOUNT, [image(1)]) == {image(1): b"\x03"}
        assert store.balance(ACCOUNT) == (7, 1)
        store.commit(ACCOUNT, sent=-2, limit=10)  # reached nobody
        store.commit(ACCOUNT, sent=5, limit=10)
        assert store.balance(ACCOUNT) == (10, 1)
        store.commit(replace(ACCOUNT, scope="another"), sent=10, limit=10)

    def test_threads_together_lose_no_answer_and_never_exceed_a_limit(self, store: AnswerStore) -> None:
        def send(number: int) -> bool:
            try:
                store.commit(ACCOUNT, {image(number % 5): bytes([number % 10])}, sent=3, limit=100)
            except BudgetSpent:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            sent = sum(pool.map(send, range(60)))
        assert sent == 33
        assert store.balance(ACCOUNT) == (99, 60)
        found = store.find(ACCOUNT, [image(number) for number in range(5)])
        assert sorted(b"".join(found.values())) == sorted(number % 10 for number in range(60))

    def test_processes_together_lose_no_answer(self, store: AnswerStore, place: str) -> None:
        store.close()
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(3)
        workers = [context.Process(target=_write, args=(place, worker, 40, barrier)) for worker in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        assert [worker.exitcode for worker in workers] == [0, 0, 0]
        found = store.find(ACCOUNT, [image(number) for number in range(40)])
        assert [sorted(found[image(number)]) for number in range(40)] == [[0, 1, 2]] * 40
        assert store.balance(ACCOUNT) == (120, 120)

    def test_a_reader_does_not_wait_for_a_writer(self, store: AnswerStore, place: str) -> None:
        store.commit(ACCOUNT, {image(1): b"\x03"})
        reader, found = AnswerStore(_database(place)), []
        with store._database.writing(1):
            thread = threading.Thread(target=lambda: found.append(reader.find(ACCOUNT, [image(1)])))
            thread.start()
            thread.join(60)
        reader.close()
        assert found == [{image(1): b"\x03"}]

    def test_a_block_that_fails_leaves_nothing(self, store: AnswerStore) -> None:
        store.commit(ACCOUNT, {image(1): b"\x03"})
        with suppress(KeyError), store._database.writing(1) as connection:
            connection.many("DELETE FROM db3_answers WHERE teacher = :teacher", [{"teacher": 1}])
            raise KeyError
        assert store.find(ACCOUNT, [image(1)]) == {image(1): b"\x03"}

    @pytest.mark.parametrize("seed", range(12))
    def test_merging_takes_the_longer_and_tells_contradictions(self, store: AnswerStore, seed: int) -> None:
        draw, classes = random.Random(seed), 300 if seed % 2 else 10  # noqa: S311 - a seed, no secret
        told, also = (
            {key: draw.choices(range(3), k=draw.randrange(1, 4)) for key in draw.sample(range(40), 25)} for _ in "ab"
        )
        account = replace(ACCOUNT, teacher=f"merged {classes}", classes=classes)

        def packed(votes: list[int]) -> bytes:
            return b"".join(vote.to_bytes(1 if classes == 10 else 2, "little") for vote in votes)

        store.commit(account, {image(key): packed(votes) for key, votes in told.items()})
        merged = store.merge(account, [(image(key), packed(votes)) for key, votes in also.items()])
        expected = dict(told)
        contradictions = added = 0
        for key, votes in also.items():
            old = told.get(key, [])
            if votes[: len(old)] == old and len(votes) > len(old):
                expected[key], added = votes, added + 1
            contradictions += votes[: len(old)] != old[: len(votes)]
        assert dict(store.read(account.teacher)) == {image(key): packed(votes) for key, votes in expected.items()}
        assert (merged.added, merged.contradictions) == (added, contradictions)
        assert merged.added + merged.same + merged.contradictions == len(also)
        assert bool(merged.example) == (contradictions > 0)

    def test_what_is_held_is_listed_read_and_forgotten(self, store: AnswerStore) -> None:
        wide = Account("c" * 64, 1000, "wide", "")
        store.commit(ACCOUNT, {image(number): b"\x01" for number in range(25_000)}, sent=25_010)
        store.commit(ACCOUNT, {image(7): b"\x02"})
        store.commit(wide, {image(1): b"\x01\x01\x02\x01"})
        first, second = store.entries()
        assert (first.images, first.votes, first.sent, first.answered) == (25_000, 25_001, 25_010, 25_001)
        assert (second.images, second.votes, second.classes, second.name) == (1, 2, 1000, "wide")
        assert first.first_at is not None
        assert [key for key, _ in store.read(ACCOUNT.teacher)] == [image(number) for number in range(25_000)]
        assert list(store.check()) == []
        assert store.forget(ACCOUNT.teacher) == 25_000
        assert store.forget("never met") == 0
        assert store.find(ACCOUNT, [image(7)]) == {}
        assert [(entry.images, entry.sent) for entry in store.entries()] == [(0, 25_010), (1, 0)]

    def test_a_damaged_row_is_refused_and_found(self, store: AnswerStore) -> None:
        store.commit(ACCOUNT, {image(1): b"\x03", image(2): b"\x04"})
        with store._database.writing(1) as connection:
            (row,) = connection.rows("SELECT votes FROM db3_answers WHERE image = :image", image=image(1))
            wrong = bytes([bytes(row[0])[0] ^ 1]) + bytes(row[0])[1:]
            sql = "UPDATE db3_answers SET votes = :votes WHERE image = :image"
            connection.many(sql, [{"votes": wrong, "image": image(1)}])
        assert store.find(ACCOUNT, [image(2)]) == {image(2): b"\x04"}
        with pytest.raises(DataError, match=r"is damaged: the answers to the image 0{31}1 are not as") as told:
            store.find(ACCOUNT, [image(1)])
        assert "\n" not in str(told.value)
        with pytest.raises(DataError, match="is damaged"):  # nor is anything added to it
            store.commit(ACCOUNT, {image(1): b"\x03"})
        (line,) = store.check()
        assert "is damaged" in line

    def test_another_process_opens_it_by_its_place(self, store: AnswerStore) -> None:
        store.commit(ACCOUNT, {image(1): b"\x03"})
        again = pickle.loads(pickle.dumps(store))  # noqa: S301 - a message between processes
        assert again.find(ACCOUNT, [image(1)]) == {image(1): b"\x03"}

    def test_what_one_claims_no_other_sends(self, store: AnswerStore) -> None:
        one, two = name_owner(), name_owner()
        store.commit(ACCOUNT, {image(1): b"\x03"})
        assert store.claim(ACCOUNT, one, {image(1): 0, image(2): 0}) == ({image(2)}, {image(1): b"\x03"})
        assert store.claim(ACCOUNT, two, {image(2): 0, image(3): 0}) == ({image(3)}, {})
        assert store.claim(ACCOUNT, two, {image(2): 0, image(1): 1}) == ({image(1)}, {})  # a second vote
        assert store.claim(replace(ACCOUNT, teacher="b" * 64), two, {image(2): 0}) == ({image(2)}, {})
        store.release(ACCOUNT, one)
        assert store.claim(ACCOUNT, two, {image(2): 0}) == ({image(2)}, {})

    def test_a_claim_ends_with_its_process_or_when_nothing_is_heard_of_it(
        self, store: AnswerStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        machine, _, number = name_owner().rsplit(" ", 2)
        store.claim(ACCOUNT, f"{machine} {ended.pid} {number}", {image(1): 0})
        silent, speaking, now = f"elsewhere {ended.pid} 0", f"elsewhere {ended.pid} 1", time.time()
        store.claim(ACCOUNT, silent, {image(2): 0})
        store.claim(ACCOUNT, speaking, {image(3): 0})
        wanted = dict.fromkeys((image(1), image(2), image(3)), 0)
        assert store.claim(ACCOUNT, name_owner(), wanted) == ({image(1)}, {})
        monkeypatch.setattr("time.time", lambda: now + LEASE / 2)
        store.prolong(ACCOUNT, speaking)
        monkeypatch.setattr("time.time", lambda: now + LEASE + 2)
        assert store.claim(ACCOUNT, name_owner(), wanted)[0] == {image(1), image(2)}
