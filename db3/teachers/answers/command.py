"""`db3 answers`: what the store of answers holds, and what may be done with it."""

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from db3.errors import ConfigError, DataError, Db3Error
from db3.teachers.answers.place import open_answers, resolve_place
from db3.teachers.answers.store import AnswerStore, Entry


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; the exit status: 0, or 1 and one line on stderr."""
    options = _options(arguments)
    try:
        place = resolve_place(options.store, Path.cwd())
        if "://" not in place and not Path(place).is_file() and options.work is not _import:
            raise DataError(f"there is no store of answers at {place}: name one with --store")
        lines, status = options.work(open_answers(place), options)
    except Db3Error as error:
        sys.stderr.write(f"db3 answers: {' '.join(str(error).split())}\n")
        return 1
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return int(status)


Told = tuple[list[str], int]


def _list(store: AnswerStore, options: argparse.Namespace) -> Told:
    """Teachers, images, votes, when, cost."""
    price = "" if options.price is None else f"{'cost':>12}"
    title = f"{'teacher':<13}{'images':>12}{'votes':>12}{'sent':>12}{'lost':>9}{price}  {'last sent':<17}name"
    lines = [store.where, title]
    for entry in store.entries():
        when = "" if entry.last_at is None else datetime.fromtimestamp(entry.last_at, UTC).strftime("%Y-%m-%d %H:%M")
        cost = "" if options.price is None else f"{entry.sent * options.price / 1000:>12,.2f}"
        counts = f"{entry.images:>12,}{entry.votes:>12,}{entry.sent:>12,}{entry.sent - entry.answered:>9,}{cost}"
        lines.append(f"{entry.identity[:12]:<13}{counts}  {when:<17}{entry.name}")
    return lines, 0


def _export(store: AnswerStore, options: argparse.Namespace) -> Told:
    from db3.teachers.answers.parquet import export_answers

    entries = [_one(store, options.teacher)] if options.teacher else store.entries()
    return [f"{export_answers(store, options.file, entries):,} images written to {options.file}"], 0


def _import(store: AnswerStore, options: argparse.Namespace) -> Told:
    from db3.teachers.answers.parquet import import_answers

    told = import_answers(store, options.file)
    lines = [f"{told.added:,} images added, {told.same:,} known already"]
    if told.contradictions:
        lines.append(
            f"{told.contradictions:,} images contradict: the answers of {store.where} stay; the first is {told.example}"
        )
    return lines, 1 if told.contradictions else 0


def _forget(store: AnswerStore, options: argparse.Namespace) -> Told:
    entry = _one(store, options.teacher)
    return [f"the answers to {store.forget(entry.identity):,} images of {entry.identity[:12]} are forgotten"], 0


def _check(store: AnswerStore, options: argparse.Namespace) -> Told:  # noqa: ARG001 - as all
    damage = list(store.check())
    return damage or [f"{store.where} is whole"], 1 if damage else 0


def _repair(store: AnswerStore, options: argparse.Namespace) -> Told:  # noqa: ARG001 - as all
    from db3.teachers.answers.repair import repair_answers

    if "://" in store.where:
        raise ConfigError(f"{store.where} is kept by a server: restore it from the server's own copy")
    with suppress(DataError):  # so damaged that it cannot be read to its end
        if not any(store.check()):
            return [f"{store.where} is whole"], 0
    store.close()
    told = repair_answers(Path(store.where))
    return [f"{told.images:,} images kept; the damaged file lies at {told.damaged}"], 0


def _one(store: AnswerStore, name: str) -> Entry:
    """The teacher whose identity begins so."""
    found = [entry for entry in store.entries() if entry.identity.startswith(name)]
    if len(found) != 1:
        known = ", ".join(entry.identity[:12] for entry in store.entries()) or "none"
        raise ConfigError(f"{name!r} begins the identity of {len(found)} teachers; expected one of {known}")
    return found[0]


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="db3 answers", description=__doc__)
    parser.add_argument("--store", default="auto", help="path or address; else .db3/answers.sqlite of this workspace")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    def verb(name: str, work: Callable[..., Told], words: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=words, description=words)
        added.set_defaults(work=work)
        return added

    listing = verb("list", _list, "teachers: images, votes, what was sent and lost, when, and what that cost")
    listing.add_argument("--price", type=float, help="of 1,000 images sent")
    export = verb("export", _export, "write answers to a Parquet file")
    export.add_argument("file", type=Path)
    export.add_argument("--teacher", help="the beginning of one identity; else all")
    verb("import", _import, "merge answers of a Parquet file; status 1 where some contradict").add_argument(
        "file", type=Path
    )
    verb("forget", _forget, "delete the answers of a teacher; what was sent stays booked").add_argument("teacher")
    verb("check", _check, "read every answer and look for damage")
    verb("repair", _repair, "keep every answer that is whole; the damaged file stays beside it")
    return parser.parse_args(arguments)
