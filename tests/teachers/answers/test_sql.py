"""The store in PostgreSQL: the same promises as in a file, and a server that may be gone."""

import pytest

from db3.errors import ConfigError, DataError
from db3.teachers.answers.place import close_answers, open_answers
from tests.contracts.answer_store import ACCOUNT, AnswerStoreContract, image


class TestPostgres(AnswerStoreContract):
    @pytest.fixture
    def place(self, database: str) -> str:
        return database


def test_a_newer_version_is_refused(database: str) -> None:
    import psycopg

    open_answers(database).commit(ACCOUNT, {image(1): b"\x01"})
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE db3_store SET version = 2")
    close_answers()
    with pytest.raises(DataError, match=r"is a store of answers of version 2; this db3 knows 1: update db3") as told:
        open_answers(database).find(ACCOUNT, [image(1)])
    assert "\n" not in str(told.value)


def test_a_server_that_is_gone_is_told_in_one_line() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(DataError, match=r"cannot use postgresql://nobody@127.0.0.1:1/none .*: check") as told:
        open_answers("postgresql://nobody@127.0.0.1:1/none").find(ACCOUNT, [image(1)])
    assert "\n" not in str(told.value)


def test_a_password_in_the_address_is_refused_and_never_shown() -> None:
    pytest.importorskip("sqlalchemy")
    with pytest.raises(ConfigError, match=r"runtime.answers holds a password.*set PGPASSWORD") as told:
        open_answers("postgresql://me:secret@127.0.0.1/db")
    assert "secret" not in str(told.value)


def test_what_is_no_address_is_refused() -> None:
    pytest.importorskip("sqlalchemy")
    with pytest.raises(ConfigError, match=r"runtime.answers is no address that can be read"):
        open_answers("postgresql://[::/x")
