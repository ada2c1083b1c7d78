"""The store of answers in a database server, through SQLAlchemy Core: where machines or colleagues share answers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from db3.errors import ConfigError, DataError, one_line
from db3.extras import needs
from db3.teachers.answers.database import TABLES, VERSION, Connection

with needs("postgres", "runtime.answers=postgresql://…"):
    import sqlalchemy as sa
    from sqlalchemy.exc import IntegrityError, SQLAlchemyError

_IN = 500  # keys of one look-up
_FIND = "SELECT image, votes FROM db3_answers WHERE teacher = :teacher AND image IN :images"


class SqlDatabase:
    """Tables in the database at an address; PostgreSQL is what is tested.

    Writers of one teacher queue up at that teacher's row, so that answers and accounts are never lost or doubled.

    Args:
        url: as SQLAlchemy takes it; a password comes from the environment (PGPASSWORD, PGPASSFILE).

    Raises:
        ConfigError: the address holds a password, or cannot be read.
        DataError: the server does not answer, or the tables are of a newer version. (At the first use.)
    """

    def __init__(self, url: str) -> None:
        try:
            address = sa.make_url(url)
        except (SQLAlchemyError, ValueError):
            raise ConfigError(
                "runtime.answers is no address that can be read; expected postgresql://USER@HOST/DATABASE"
            ) from None
        if address.password:
            raise ConfigError(
                "runtime.answers holds a password; expected an address without: set PGPASSWORD in the environment"
            )
        if address.drivername == "postgresql":
            address = address.set(drivername="postgresql+psycopg")
        self.where = url
        with needs("postgres", "runtime.answers=postgresql://…"):  # the driver
            self._engine = sa.create_engine(address, pool_pre_ping=True)
        self._ready = False

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._begun() as connection:
            yield _Connection(connection)

    @contextmanager
    def writing(self, teacher: int | None, durable: bool = False) -> Iterator[Connection]:  # noqa: ARG002 - always
        with self._begun() as connection:
            if teacher is None:  # the version's row is everybody's
                connection.execute(sa.text("SELECT version FROM db3_store FOR UPDATE"))
            else:
                connection.execute(sa.text("SELECT id FROM db3_teachers WHERE id = :id FOR UPDATE"), {"id": teacher})
            yield _Connection(connection)

    def find_damage(self) -> Iterable[str]:
        return []  # its pages are the server's care; rows are checked one by one

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _begun(self) -> Iterator[sa.Connection]:
        try:
            if not self._ready:
                self._prepare()
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            reason = one_line(getattr(error, "orig", None) or error)
            raise DataError(
                f"cannot use {self.where} ({reason}): check the server, the database and your rights there, then run "
                "again; what it holds is not sent twice"
            ) from error

    def _prepare(self) -> None:
        if not sa.inspect(self._engine).has_table("db3_store"):
            binary = "BYTEA" if self._engine.dialect.name == "postgresql" else "BLOB"
            try:
                with self._engine.begin() as connection:
                    connection.execute(sa.text("CREATE TABLE db3_store (version INTEGER NOT NULL)"))
                    for table in TABLES:
                        connection.execute(sa.text(table.format(bytes=binary)))
                    connection.execute(sa.text(f"INSERT INTO db3_store VALUES ({VERSION})"))
            except (IntegrityError, sa.exc.ProgrammingError):  # another process has made them just now
                if not sa.inspect(self._engine).has_table("db3_store"):
                    raise
        with self._engine.begin() as connection:
            version = connection.execute(sa.text("SELECT version FROM db3_store")).scalar_one()
        if version > VERSION:
            raise DataError(
                f"{self.where} is a store of answers of version {version}; this db3 knows {VERSION}: update db3, or "
                "set runtime.answers to another database"
            )
        self._ready = True


class _Connection:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, **values: Any) -> Sequence[Any]:
        return self._connection.execute(sa.text(sql), values).fetchall()

    def many(self, sql: str, values: Sequence[Mapping[str, Any]]) -> None:
        self._connection.execute(sa.text(sql), list(values))

    def find(self, teacher: int, images: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
        find = sa.text(_FIND).bindparams(sa.bindparam("images", expanding=True))
        for start in range(0, len(images), _IN):
            values = {"teacher": teacher, "images": list(images[start : start + _IN])}
            yield from self._connection.execute(find, values)  # type: ignore[misc]
