"""A database of answers: its tables, and what a store needs of whatever keeps them."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

VERSION = 1
KEY = 16  # bytes: an image by its digest (`db3.teachers.answers.digests`)
# In place of {bytes}: the database's own type of binary data. The key is the row: `db3_answers` is one tree.
TABLES = (
    "CREATE TABLE db3_teachers (id INTEGER PRIMARY KEY, identity VARCHAR(128) NOT NULL UNIQUE, "
    "classes INTEGER NOT NULL, name VARCHAR(400) NOT NULL)",
    "CREATE TABLE db3_accounts (teacher INTEGER NOT NULL, scope VARCHAR(128) NOT NULL, sent BIGINT NOT NULL, "
    "answered BIGINT NOT NULL, first_at BIGINT NOT NULL, last_at BIGINT NOT NULL, PRIMARY KEY (teacher, scope))",
    "CREATE TABLE db3_answers (teacher INTEGER NOT NULL, image {bytes} NOT NULL, votes {bytes} NOT NULL, "
    "PRIMARY KEY (teacher, image))",
    "CREATE TABLE db3_claims (teacher INTEGER NOT NULL, owner VARCHAR(200) NOT NULL, until BIGINT NOT NULL, "
    "images {bytes} NOT NULL, PRIMARY KEY (teacher, owner))",
)


@runtime_checkable
class Connection(Protocol):
    """An open transaction; SQL takes values as `:name`."""

    def rows(self, sql: str, **values: Any) -> Sequence[Any]: ...

    def many(self, sql: str, values: Sequence[Mapping[str, Any]]) -> None: ...

    def find(self, teacher: int, images: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
        """Image and votes of those rows of `db3_answers` that there are."""
        ...


@runtime_checkable
class Database(Protocol):
    """Where the tables are (`db3.teachers.answers.sqlite`, `.sql`); its errors are DataErrors of one line.

    Attributes:
        where: path or address, without secrets.
    """

    where: str

    def reading(self) -> AbstractContextManager[Connection]: ...

    def writing(self, teacher: int | None, durable: bool = False) -> AbstractContextManager[Connection]:
        """A transaction that no other writer of this teacher (None: of any) runs beside; undone by an exception."""
        ...

    def find_damage(self) -> Iterable[str]:
        """What the database itself finds wrong, a line each."""
        ...

    def close(self) -> None: ...
