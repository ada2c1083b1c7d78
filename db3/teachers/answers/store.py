"""The store of answers: (teacher, digest of the image) → every answer so far, in a database that survives kills.

What it promises, whichever database holds it:

* **Kept before it is used.** `commit` returns when its answers and counts are committed. No death of the process undoes
  that; nor does a power cut where `durable` is asked for, as it is where money is limited. Without it a power cut may
  lose the last moments on SQLite (the file stays whole), and their images are sent again.
* **Booked before it is sent.** So `sent` − `answered` of an account is what was in flight when runs died and what
  brought no answer, exactly.
* **Sent by one.** Who is about to send claims the images first; others wait for the answers meanwhile.
* **Many writers.** Processes and threads may look up and commit at once. Answers to one image stand in the order of
  their commits: all who ask for answer number k are told the same one, for good.
* **Never a wrong answer.** Each row carries a check over teacher, image and answers; a damaged one is refused.

Answers are a byte each, two where the teacher has more than 256 classes; they are kept in their order, not as a count
for each class, since the flip rate compares the first two, and a vote resumed has to stop where it did.
"""

import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from db3.errors import DataError
from db3.teachers.answers.claims import claim, claimed_by_others, prolong
from db3.teachers.answers.database import Connection, Database
from db3.teachers.answers.recording import width
from db3.teachers.budget import budget_spent

CHECK = 4  # bytes behind the answers of a row
_PAGE = 10_000  # rows read at once by whoever reads all


@dataclass(frozen=True)
class Account:
    """Whose answers, and on which account what is sent for them is booked.

    Attributes:
        teacher: identity of all that decides one answer.
        classes: K.
        name: of the teacher, for people.
        scope: of the work that asks: what `budget.total` limits.
    """

    teacher: str
    classes: int
    name: str = ""
    scope: str = ""


@dataclass(frozen=True)
class Entry:
    """What the store holds of a teacher.

    Attributes:
        identity, classes, name: as in `Account`.
        images: with an answer.
        votes: answers.
        sent: attempts booked here.
        answered: of these.
        first_at: seconds since 1970 of the first booking; None: nothing was sent from here.
        last_at: of the last one.
    """

    identity: str
    classes: int
    name: str
    images: int
    votes: int
    sent: int
    answered: int
    first_at: int | None
    last_at: int | None


@dataclass
class Merged:
    """What became of answers from elsewhere: images that were new, already there, or contradict what was there.

    Attributes:
        added, same: images.
        contradictions: images whose answers begin otherwise than the store's own, which stay.
        example: one of them, with both answers.
    """

    added: int = 0
    same: int = 0
    contradictions: int = 0
    example: str = ""


class AnswerStore:
    """Answers and accounts in a database; any thread may call it."""

    def __init__(self, database: Database, reopen: Callable[[], "AnswerStore"] | None = None) -> None:
        self._database, self._reopen = database, reopen
        self._teachers: dict[str, tuple[int, int]] = {}

    @property
    def where(self) -> str:
        """Path or address."""
        return self._database.where

    def find(self, account: Account, images: Collection[bytes]) -> dict[bytes, bytes]:
        """The answers to those of the images that have any.

        Raises:
            DataError: a row is damaged, or the database cannot be read.
        """
        teacher = self._teacher(account.teacher)
        if teacher is None or not images:
            return {}
        with self._database.reading() as connection:
            return self._read(account.teacher, connection.find(teacher[0], list(images)))

    def commit(
        self,
        account: Account,
        answers: Mapping[bytes, bytes] | None = None,
        sent: int = 0,
        limit: int | None = None,
    ) -> dict[bytes, bytes]:
        """Append answers that came back, and book images that are about to be sent.

        Args:
            account: whose.
            answers: to each image, one or more.
            sent: images; negative: some that were booked reached nobody.
            limit: the account may send so many in all: then commits also survive a power cut.

        Returns:
            All answers to these images.

        Raises:
            BudgetSpent: the limit refuses `sent`; the answers are kept all the same.
            DataError: the database cannot be written.
        """
        new, size = answers or {}, width(account.classes).itemsize
        teacher = self._require_teacher(account)
        with self._database.writing(teacher, durable=limit is not None) as connection:
            merged = self._append(connection, teacher, account.teacher, new)
            before = self._balance(connection, teacher, account.scope)
            refused = limit is not None and sent > 0 and before[0] + sent > limit
            count = sum(map(len, new.values())) // size
            self._book(connection, teacher, account.scope, 0 if refused else sent, count)
        if refused and limit is not None:
            raise budget_spent(sent, before[0], limit)
        return merged

    def claim(self, account: Account, owner: str, known: Mapping[bytes, int]) -> tuple[set[bytes], dict[bytes, bytes]]:
        """Claim images that are about to be sent, in place of what `owner` claimed before.

        Args:
            account: whose.
            owner: who sends, see `db3.teachers.answers.claims`.
            known: to each image, the bytes of its answers that the owner has seen.

        Returns:
            Images claimed: nobody else sends them before `release`; and the answers to those of the others that have
            more by now. What is left somebody else is asking about.
        """
        teacher = self._require_teacher(account)
        with self._database.writing(teacher) as connection:
            there = self._read(account.teacher, connection.find(teacher, list(known)))
            more = {image: votes for image, votes in there.items() if len(votes) > known[image]}
            mine = known.keys() - more.keys() - claimed_by_others(connection, teacher, owner)
            claim(connection, teacher, owner, mine)
        return mine, more

    def prolong(self, account: Account, owner: str) -> None:
        """Keep a claim, of which something was heard."""
        teacher = self._require_teacher(account)
        with self._database.writing(teacher) as connection:
            prolong(connection, teacher, owner)

    def release(self, account: Account, owner: str) -> None:
        """End a claim."""
        teacher = self._require_teacher(account)
        with self._database.writing(teacher) as connection:
            claim(connection, teacher, owner, ())

    def balance(self, account: Account) -> tuple[int, int]:
        """Images sent and answered on this account, by all runs."""
        teacher = self._teacher(account.teacher)
        if teacher is None:
            return 0, 0
        with self._database.reading() as connection:
            return self._balance(connection, teacher[0], account.scope)

    def book(self, account: Account, sent: int, answered: int) -> None:
        """Book what was sent and answered elsewhere."""
        teacher = self._require_teacher(account)
        with self._database.writing(teacher) as connection:
            self._book(connection, teacher, account.scope, sent, answered)

    def entries(self) -> list[Entry]:
        """What is held of each teacher, in the order in which they came."""
        found = []
        with self._database.reading() as connection:
            for key, identity, classes, name in connection.rows(
                "SELECT id, identity, classes, name FROM db3_teachers ORDER BY id"
            ):
                ((images, size),) = connection.rows(
                    "SELECT COUNT(*), COALESCE(SUM(LENGTH(votes)), 0) FROM db3_answers WHERE teacher = :teacher",
                    teacher=key,
                )
                ((sent, answered, first, last),) = connection.rows(
                    "SELECT COALESCE(SUM(sent), 0), COALESCE(SUM(answered), 0), MIN(first_at), MAX(last_at) "
                    "FROM db3_accounts WHERE teacher = :teacher",
                    teacher=key,
                )
                votes = (int(size) - CHECK * images) // width(classes).itemsize
                found.append(Entry(identity, classes, name, images, votes, int(sent), int(answered), first, last))
        return found

    def read(self, identity: str) -> Iterator[tuple[bytes, bytes]]:
        """Every image of a teacher with its answers, in the order of their digests."""
        teacher, after = self._teacher(identity), b""
        while teacher is not None:
            with self._database.reading() as connection:
                rows = connection.rows(
                    "SELECT image, votes FROM db3_answers WHERE teacher = :teacher AND image > :after "
                    f"ORDER BY image LIMIT {_PAGE}",
                    teacher=teacher[0],
                    after=after,
                )
            yield from self._read(identity, rows).items()
            if len(rows) < _PAGE:
                return
            after = bytes(rows[-1][0])

    def merge(self, account: Account, answers: Iterable[tuple[bytes, bytes]]) -> Merged:
        """Take in answers that were paid for elsewhere; where one list of answers begins with the other, the longer."""
        told, size = Merged(), width(account.classes).itemsize
        teacher = self._require_teacher(account)
        rows = iter(answers)
        while page := dict(row for row, _ in zip(rows, range(_PAGE), strict=False)):
            with self._database.writing(teacher) as connection:
                there = self._read(account.teacher, connection.find(teacher, list(page)))
                new = {}
                for image, votes in page.items():
                    old = there.get(image, b"")
                    if old.startswith(votes):
                        told.same += 1
                    elif votes.startswith(old):
                        told.added += 1
                        new[image] = votes[len(old) :]
                    else:
                        told.contradictions += 1
                        told.example = told.example or (
                            f"image {image.hex()}: {_classes(old, size)} here, {_classes(votes, size)} there"
                        )
                self._append(connection, teacher, account.teacher, new)
        return told

    def forget(self, identity: str) -> int:
        """Delete all answers of a teacher; what was sent for them stays booked. Images that had any."""
        teacher = self._teacher(identity)
        if teacher is None:
            return 0
        with self._database.writing(teacher[0]) as connection:
            ((images,),) = connection.rows(
                "SELECT COUNT(*) FROM db3_answers WHERE teacher = :teacher", teacher=teacher[0]
            )
            connection.many("DELETE FROM db3_answers WHERE teacher = :teacher", [{"teacher": teacher[0]}])
        return int(images)

    def check(self) -> Iterator[str]:
        """What is damaged, a line each; nothing where all is well."""
        damage = False
        for line in self._database.find_damage():
            damage = True
            yield line
        if damage:
            return  # rows of a broken tree may come in any order, or for ever
        for entry in self.entries():
            try:
                for _ in self.read(entry.identity):
                    pass
            except DataError as error:
                yield str(error)

    def close(self) -> None:
        """End the connection; it is opened again when needed."""
        self._database.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Workers of a cluster open the store themselves."""
        if self._reopen is None:
            raise TypeError("this store has no address that another process could open it by")
        return self._reopen, ()

    def _teacher(self, identity: str) -> tuple[int, int] | None:
        """Number and classes; None: never met."""
        if identity not in self._teachers:
            with self._database.reading() as connection:
                rows = connection.rows(
                    "SELECT id, classes FROM db3_teachers WHERE identity = :identity", identity=identity
                )
            if not rows:
                return None
            self._teachers[identity] = rows[0][0], rows[0][1]
        return self._teachers[identity]

    def _require_teacher(self, account: Account) -> int:
        found = self._teacher(account.teacher)
        if found is None:
            with self._database.writing(None) as connection:
                where = "WHERE identity = :identity"
                if not connection.rows(f"SELECT id FROM db3_teachers {where}", identity=account.teacher):
                    connection.many(
                        "INSERT INTO db3_teachers (id, identity, classes, name) "
                        "SELECT COALESCE(MAX(id), 0) + 1, :identity, :classes, :name FROM db3_teachers",
                        [{"identity": account.teacher, "classes": account.classes, "name": account.name[:400]}],
                    )
            found = self._teacher(account.teacher)
        if found is None or found[1] != account.classes:
            raise DataError(
                f"{self.where} knows the teacher {account.teacher[:12]} with {found[1] if found else 'no'} classes, "
                f"not {account.classes}: its answers are of another kind; take another store in runtime.answers"
            )
        return found[0]

    def _append(
        self, connection: Connection, teacher: int, identity: str, answers: Mapping[bytes, bytes]
    ) -> dict[bytes, bytes]:
        if not answers:
            return {}
        there = self._read(identity, connection.find(teacher, list(answers)))
        merged = {image: there.get(image, b"") + votes for image, votes in answers.items()}
        seed = seed_of(identity)
        insert = "INSERT INTO db3_answers (teacher, image, votes) VALUES (:teacher, :image, :votes)"
        update = "UPDATE db3_answers SET votes = :votes WHERE teacher = :teacher AND image = :image"
        for sql, images in ((insert, merged.keys() - there.keys()), (update, merged.keys() & there.keys())):
            if images:
                rows = [(image, seal(seed, image, merged[image])) for image in sorted(images)]
                connection.many(sql, [{"teacher": teacher, "image": image, "votes": votes} for image, votes in rows])
        return merged

    def _balance(self, connection: Connection, teacher: int, scope: str) -> tuple[int, int]:
        rows = connection.rows(
            "SELECT sent, answered FROM db3_accounts WHERE teacher = :teacher AND scope = :scope",
            teacher=teacher,
            scope=scope,
        )
        return (int(rows[0][0]), int(rows[0][1])) if rows else (0, 0)

    def _book(self, connection: Connection, teacher: int, scope: str, sent: int, answered: int) -> None:
        if not sent and not answered:
            return
        values = {"teacher": teacher, "scope": scope, "sent": sent, "answered": answered, "now": int(time.time())}
        where = "WHERE teacher = :teacher AND scope = :scope"
        sql = "INSERT INTO db3_accounts VALUES (:teacher, :scope, :sent, :answered, :now, :now)"
        if connection.rows(f"SELECT 1 FROM db3_accounts {where}", teacher=teacher, scope=scope):
            more = "sent = sent + :sent, answered = answered + :answered, last_at = :now"
            sql = f"UPDATE db3_accounts SET {more} {where}"
        connection.many(sql, [values])

    def _read(self, identity: str, rows: Iterable[Any]) -> dict[bytes, bytes]:
        seed, found = seed_of(identity), {}
        for image, row in rows:
            whole = isinstance(image, bytes) and isinstance(row, bytes)
            votes = row[:-CHECK] if whole else b""
            if not whole or row != seal(seed, image, votes):
                name = image.hex() if isinstance(image, bytes) else "?"
                raise DataError(
                    f"{self.where} is damaged: the answers to the image {name} are not as they were written; restore "
                    "it from a copy, or keep all that is whole with `db3 answers repair`"
                )
            found[image] = votes
        return found


def seed_of(identity: str) -> int:
    """Of the checks of a teacher's rows."""
    return zlib.crc32(identity.encode())


def seal(seed: int, image: bytes, votes: bytes) -> bytes:
    """A row: the answers, and behind them the check."""
    return votes + zlib.crc32(image + votes, seed).to_bytes(CHECK, "little")


def _classes(votes: bytes, size: int) -> list[int]:
    return [int.from_bytes(votes[place : place + size], "little") for place in range(0, len(votes), size)]
