"""docs/results.md, written from the records that are there; a row that was not run says so."""

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.paper.record import Record
from benchmarks.paper.rows import Published, Row, Table

NOT_RUN, NO_DATA = "not run", "not run: the data set was not at hand"
BASELINES = ("hard", "smoothing", "inverse", "margin", "augmented")
_HEAD = """\
# The paper's table, and ours

Written by `python -m benchmarks.paper --write docs/results.md` from the records of its runs, nothing by hand.
Published numbers: {source}.

- Every row is an experiment of `conf/experiment/`, run through the whole pipeline: teacher trained here, samples,
  search, transfer set, students. No number was picked on the test set, no seed dropped.
- Accuracy on the test split in per cent, mean ± sample standard deviation over the students' seeds (one seed has none).
  *agreement*: test images that student and teacher decide alike. *queries*: asked for each sample, the sample's own
  included.
- *KD* is our standard distillation from the teacher's own logits on the same images, which no black box offers; *hard*
  and *smoothing* learn the samples' decisions alone; *inverse* is the paper's mapping and *margin* ours on the same
  distances; *augmented* learns decisions on variations of the samples at as many queries as the search.
- A number is of the recipe at the commit that stands beside its command; where the recipe has changed since, run it
  again.
- *time* is the row's wall time on the machine named below, whatever else it had to do (*load*: processes at work at the
  run's end); stages shared with another row (its teacher, say) are counted there.
"""
_FOOT = """\
## Where these numbers come from
Run any of them again, in pieces where that is more convenient: a run that was stopped goes on. The records, one JSON
file a row with numbers, parameters' digests and versions, lie in `docs/results/`; `--write` adds the ones just run.

"""


def page(
    tables: Sequence[Table],
    records: Mapping[str, Record],
    curve: Sequence[Record],
    source: str,
    absent: Sequence[str],
    picture: str | None,
) -> str:
    """The text of the page.

    Args:
        tables: all rows.
        records: by row.
        curve: records of one experiment with different numbers of samples.
        source: of the published numbers.
        absent: data sets that were not at hand.
        picture: of the curve, relative to the page; None: not drawn.
    """
    parts = [_HEAD.format(source=source)]
    parts += [_table(table, records, absent) for table in tables]
    parts.append(_samples(curve, picture))
    parts.append(_FOOT + _sources([*_ordered(tables, records), *curve]))
    return "\n".join(parts)


def spread(value: Mapping[str, float] | None, seeds: int) -> str:
    """`98.78 ± 0.08`: a share in per cent; nothing of none; one seed has no deviation."""
    if value is None:
        return ""
    return f"{100 * value['mean']:.2f}" + (f" ± {100 * value['sd']:.2f}" if seeds > 1 else "")


def _table(table: Table, records: Mapping[str, Record], absent: Sequence[str]) -> str:
    head = ["row", "published KD", "published DB3KD", "teacher", "KD", *BASELINES, "student", "learns", "agreement"]
    rows = [_row(row, records.get(row.name), absent) for row in table.rows]
    return f"## {table.title}\n{table.about}\n\n{_lines([*head, 'queries', 'time'], rows)}"


def _row(row: Row, found: Record | None, absent: Sequence[str]) -> list[str]:
    published = [_published(row.published, "kd"), _published(row.published, "accuracy")]
    about = [f"{row.about} (`{row.name}`)", *published]
    if found is None:
        missing = any(row.experiment.startswith(name) for name in absent)
        return [*about, "", "", *[""] * len(BASELINES), NO_DATA if missing else NOT_RUN, "", "", "", ""]
    seeds = found["seeds"]
    others = [spread(found[name]["accuracy"], seeds) if name in found else "" for name in ("kd", *BASELINES)]
    ours = found["ours"]
    teacher = "" if found["teacher"]["accuracy"] is None else f"{100 * found['teacher']['accuracy']:.2f}"
    queries = f"{found['queries']['per_sample']:,.0f}"
    numbers = [spread(ours["agreement"], seeds), queries, duration(found["seconds"]["total"])]
    return [*about, teacher, *others, f"**{spread(ours['accuracy'], seeds)}**", ours["learns"], *numbers]


def _published(found: Published | None, name: str) -> str:
    value = getattr(found, name, None)
    if found is None or value is None:
        return "–"
    told = f"{100 * value:.2f}"
    return told if found.same_setup else f"({told})"


def _samples(curve: Sequence[Record], picture: str | None) -> str:
    """Accuracy against the number of samples."""
    title = "## Accuracy against the number of samples\n"
    if not curve:
        return f"{title}Not run: `python -m benchmarks.paper --curve digits --samples 25 50 100 200 400`.\n"
    names = [name for name in ("kd", *BASELINES) if any(name in record for record in curve)]
    rows = [
        [
            f"{record['samples']['count']:,}",
            *(spread(record[name]["accuracy"], record["seeds"]) if name in record else "" for name in names),
            f"**{spread(record['ours']['accuracy'], record['seeds'])}**",
            spread(record["ours"]["agreement"], record["seeds"]),
            f"{record['queries']['per_sample']:,.0f}",
        ]
        for record in curve
    ]
    experiment = curve[0]["row"].rpartition("@")[0]
    about = (
        f"`{experiment}` with nothing changed but `samples.count` (and a class that few samples lack is left out).\n\n"
    )
    shown = f"![Accuracy of each kind of student against the number of samples]({picture})\n\n" if picture else ""
    return (
        title
        + about
        + shown
        + _lines(
            ["samples", *("KD" if name == "kd" else name for name in names), "student", "agreement", "queries"], rows
        )
    )


def _sources(records: Iterable[Record]) -> str:
    rows = []
    for record in records:
        told = record["provenance"]
        commit = (told["commit"] or "unknown")[:12] + (" and changes" if told["changed"] else "")
        shared = f"; {', '.join(record['seconds']['shared'])} shared" if record["seconds"]["shared"] else ""
        rows.append(
            [
                f"`{told['command']}`",
                str(record["seeds"]),
                f"{record['samples']['count']:,} {record['samples']['method']}",
                "unknown" if record["queries"]["sent"] is None else f"{record['queries']['sent']:,}",
                f"`{record['transfer']['digest'][:12]}`",
                commit,
                f"{told['device'] or 'unknown'}, {told['machine'] or 'unknown'}, {told['cores']} cores at load "
                f"{told['load']:g}, {told['date']}",
                duration(record["seconds"]["total"]) + shared,
            ]
        )
    head = ["command", "seeds", "samples", "images sent", "transfer set", "commit", "machine, day", "time"]
    return _lines(head, rows) if rows else "No row was run.\n"


def duration(seconds: float) -> str:
    """Seconds in words: `48 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _ordered(tables: Sequence[Table], records: Mapping[str, Record]) -> list[Record]:
    return [records[row.name] for table in tables for row in table.rows if row.name in records]


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
