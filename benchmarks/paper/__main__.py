"""The paper's table beside ours.

    python -m benchmarks.paper --list
    python -m benchmarks.paper --only mnist_small --seeds 3 --json FILE
    python -m benchmarks.paper --curve digits --samples 25 50 100 200 400 --seeds 3
    python -m benchmarks.paper --write docs/results.md

A row is an experiment of conf/experiment, run by DVC in a project of its own below FOLDER/projects; its record, with
numbers and provenance, is FOLDER/NAME.json. What is up to date is not run again, a run that was stopped goes on, and
records of other days and machines count when they lie in FOLDER. `--write` puts the records beside the page, below a
folder of its name (docs/results/), and makes the page of all that lie there. Shares are 0 to 1.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from benchmarks.paper.curve import draw
from benchmarks.paper.page import duration, page, spread
from benchmarks.paper.project import prepare, reproduce
from benchmarks.paper.record import Record, identity, read_record
from benchmarks.paper.rows import Row, absent_sets, choose, source, tables
from benchmarks.writable import require_writable
from db3.errors import Db3Error
from db3.files import read_json, write_json, write_text
from flows.compose import compose
from flows.engine.installed import template
from flows.engine.stage import run_entry_point

_ROOT = Path(__file__).parents[2]
FOLDER = Path(".db3/paper")
PICTURE = Path("images/results-samples.png")  # beside the page


def main() -> NoReturn:
    options = _options()
    # As Ctrl-C, which ends the row's processes too; a shell starts background jobs with SIGINT ignored.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run_entry_point(lambda: _work(options))


def _work(options: argparse.Namespace) -> str:
    if options.list:
        return _list(options.folder)
    require_writable(options.json)
    require_writable(options.write)
    rows = [*(_point(options, count) for count in _counts(options)), *choose(options.only)]
    records, failed = dict[str, Record](), list[str]()
    for row in rows:
        try:
            records[row.name] = _bring(row, options)
            print(_told(records[row.name]), flush=True)
        except Db3Error as error:
            failed.append(f"{row.name}: {' '.join(str(error).split())}")
            if len(rows) > 1:  # the others go on
                print(f"error: {failed[-1]}", file=sys.stderr, flush=True)
        if options.json:
            write_json(options.json, records)
    if options.write:
        _write(options)
    if failed:
        names = ", ".join(line.partition(":")[0] for line in failed)
        raise Db3Error(f"{len(failed)} of {len(rows)} rows failed: {names}" if len(rows) > 1 else failed[0])
    return f"paper: {len(records)} rows are up to date in {options.folder}" + (
        f"; {options.write} written" if options.write else ""
    )


def _bring(row: Row, options: argparse.Namespace) -> Record:
    """The record of a row: the one that is there where parameters and code are the same, else of a run now."""
    seeds = [] if options.seeds is None else [f"evaluate.seeds={options.seeds}"]
    runtime = [f"runtime.download={str(options.download).lower()}", *options.set]
    overrides = [f"experiment={row.experiment}", *row.overrides, *seeds, *runtime]
    path = options.folder / f"{row.name}.json"
    wanted = identity(compose(overrides, template() / "conf"))
    if path.is_file() and wanted.items() <= read_json(path)["provenance"].items():
        return dict(read_json(path))
    print(f"{row.name}: {' '.join(overrides)}", flush=True)
    folder = options.folder / "projects" / row.name
    prepare(folder, overrides)
    reproduce(folder, options.data_root)
    record = read_record(row, folder, _arguments(row, options))
    write_json(path, record)
    return record


def _arguments(row: Row, options: argparse.Namespace) -> list[str]:
    """Of the command that makes this row alone."""
    experiment, mark, count = row.name.partition("@")
    chosen = ["--curve", experiment, "--samples", count] if mark else ["--only", row.name]
    seeds = [] if options.seeds is None else ["--seeds", str(options.seeds)]
    return [*chosen, *seeds, *(word for value in options.set for word in ("--set", value))]


def _counts(options: argparse.Namespace) -> Sequence[int]:
    return options.samples if options.curve else ()


def _point(options: argparse.Namespace, count: int) -> Row:
    """A point of the curve: few samples may lack a class."""
    (row,) = choose([options.curve])
    overrides = (*row.overrides, f"samples.count={count}", "samples.missing_classes=allow")
    return replace(row, name=f"{row.name}@{count}", overrides=overrides, about=f"{row.about}, {count} samples")


def _write(options: argparse.Namespace) -> None:
    """The records, the page of these and of the ones that lie there already, and the curve's picture beside it."""
    kept = options.write.with_suffix("")
    for path in sorted(options.folder.glob("*.json")):
        write_json(kept / path.name, read_json(path))
    found = {path.stem: dict(read_json(path)) for path in sorted(kept.glob("*.json"))}
    curve = sorted(
        (record for name, record in found.items() if name.startswith(f"{options.curve or 'digits'}@")),
        key=lambda record: int(record["samples"]["count"]),
    )
    picture = options.write.parent / PICTURE
    drawn = len(curve) > 1
    if drawn and find_spec("matplotlib"):
        draw(curve, picture)
    elif drawn:
        print(f"warning: {picture} stays as it is: to draw it, install db3[bench]", file=sys.stderr)
    shown = PICTURE.as_posix() if drawn and picture.is_file() else None
    write_text(options.write, page(tables(), found, curve, source(), absent_sets(), shown))


def _list(folder: Path) -> str:
    lines = []
    for table in tables():
        lines.append(table.title)
        for row in table.rows:
            path = folder / f"{row.name}.json"
            done = _told(read_json(path)) if path.is_file() else "not run"
            lines.append(f"  {row.name:<30} {row.about:<58} {done.removeprefix(f'{row.name}: ')}")
    return "\n".join(lines)


def _told(record: Record) -> str:
    ours, seconds, seeds = record["ours"], record["seconds"], record["seeds"]
    named = ", ".join(f"{name} {spread(record[name]['accuracy'], seeds)}" for name in ("kd", "hard") if name in record)
    told = f"student {spread(ours['accuracy'], seeds)}, {named}, agreement {spread(ours['agreement'], seeds)}"
    return (
        f"{record['row']}: {told}, "
        f"{record['queries']['per_sample']:,.0f} queries a sample, {duration(seconds['total'])}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--list", action="store_true", help="the rows, and what is known of each")
    add("--only", nargs="+", default=[], metavar="ROW", help="rows to run, in this order; mnist_*_small: a pattern")
    add("--curve", metavar="ROW", help="run this row for each number of samples")
    add("--samples", type=int, nargs="+", default=[25, 50, 100, 200, 400], help="of --curve")
    add("--seeds", type=int, help="students of each kind (default: the experiment's)")
    add("--folder", type=Path, default=FOLDER, help=f"of records and projects (default: {FOLDER})")
    add("--json", type=Path, metavar="FILE", help="write the records of the rows chosen here, by row")
    add(
        "--write",
        type=Path,
        metavar="PAGE",
        help="add the records to those beside this page, and write it: docs/results.md",
    )
    add("--data-root", type=Path, default=_data_root(), help="folder of data sets (default here: %(default)s)")
    add("--download", action="store_true", help="fetch data sets that are not there")
    add(
        "--set", action="append", default=[], metavar="runtime.NAME=VALUE", help="how a row is run: runtime.device=cuda"
    )
    options = parser.parse_args()
    if not (options.list or options.only or options.curve or options.write):
        parser.error("expected --only ROW, --curve ROW, --write PAGE or --list")
    if wrong := [value for value in options.set if not value.startswith("runtime.")]:
        parser.error(f"--set {wrong[0]}: expected runtime.NAME=VALUE; a row's other parameters are its experiment's")
    for name in ("folder", "json", "write", "data_root"):
        if getattr(options, name):
            setattr(options, name, getattr(options, name).expanduser().absolute())
    return options


def _data_root() -> Path | None:
    """DB3_DATA_ROOT, DB3_TEST_DATA, or the folder beside a checkout; None: the library's own default."""
    named = [Path(value) for name in ("DB3_DATA_ROOT", "DB3_TEST_DATA") if (value := os.environ.get(name))]
    beside = _ROOT.parent / "shared" / "data"
    return next(iter([*named, *([beside] if beside.is_dir() else [])]), None)


if __name__ == "__main__":
    main()
