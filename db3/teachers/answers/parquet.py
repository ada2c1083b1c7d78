"""Answers as a Parquet file: to carry them to another store, and to be read by other tools.

One row an image: `teacher` (identity), `name`, `classes`, `image` (16 bytes) and `votes` (list of classes, in the order
in which they came).
"""

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from db3.errors import DataError, one_line
from db3.extras import needs
from db3.files import whole_file
from db3.teachers.answers.database import KEY
from db3.teachers.answers.recording import width
from db3.teachers.answers.store import Account, AnswerStore, Entry, Merged

with needs("parquet", "db3 answers export and import"):
    import pyarrow as pa
    import pyarrow.parquet as pq

_ROWS = 65_536  # of a row group
_SCHEMA = pa.schema(
    [
        ("teacher", pa.string()),
        ("name", pa.string()),
        ("classes", pa.int32()),
        ("image", pa.binary(KEY)),
        ("votes", pa.list_(pa.uint16())),
    ]
)


def export_answers(store: AnswerStore, path: Path, entries: Sequence[Entry]) -> int:
    """Write all answers of these teachers; the same store always gives the same rows.

    Returns:
        How many images were written.
    """
    count = 0
    with whole_file(path) as file, pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer:
        for entry in entries:
            rows, kind = store.read(entry.identity), width(entry.classes)
            while page := list(islice(rows, _ROWS)):
                votes = [np.frombuffer(votes, kind).astype(np.uint16) for _, votes in page]
                columns = [[value] * len(page) for value in (entry.identity, entry.name, entry.classes)]
                arrays = [*columns, [image for image, _ in page], votes]
                writer.write_table(pa.table(dict(zip(_SCHEMA.names, arrays, strict=True)), schema=_SCHEMA))
                count += len(page)
    return count


def import_answers(store: AnswerStore, path: Path) -> Merged:
    """Take in what another store has exported; contradictions are counted, and the store's own answers stay.

    Raises:
        DataError: the file is none of these, or holds what no store does.
    """
    told = Merged()
    for account, rows in groupby(_rows(path), key=lambda row: row[0]):
        found = store.merge(account, (row[1:] for row in rows))
        told.added, told.same = told.added + found.added, told.same + found.same
        told.contradictions += found.contradictions
        told.example = told.example or found.example
    return told


def _rows(path: Path) -> Iterator[tuple[Account, bytes, bytes]]:
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(_SCHEMA):
                raise DataError(f"{path} has other columns than `db3 answers export` writes: take a file of that")
            for batch in file.iter_batches(_ROWS):
                for row in batch.to_pylist():
                    yield _row(path, row)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"cannot read {path} ({one_line(error)}); expected a file of `db3 answers export`: copy it again"
        ) from error


def _row(path: Path, row: dict[str, Any]) -> tuple[Account, bytes, bytes]:
    account = Account(row["teacher"], row["classes"], row["name"])
    votes = np.array(row["votes"], np.int64)
    if not len(votes) or votes.max() >= account.classes:
        raise DataError(f"{path} holds an answer outside 0 … {account.classes - 1}: export it again")
    return account, row["image"], votes.astype(width(account.classes)).tobytes()
