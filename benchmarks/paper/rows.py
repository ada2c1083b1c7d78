"""The rows of the table: which experiment each is, and what was published for it (rows.yaml)."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from db3.errors import unknown_name
from flows.engine.installed import template
from flows.yaml_files import read_yaml

_FILE = Path(__file__).with_name("rows.yaml")
SMALL = "_small"


@dataclass(frozen=True)
class Published:
    """What another source says of a row.

    Attributes:
        accuracy: of the paper's student, 0 to 1.
        kd: of its standard distillation; None: not told.
        same_setup: whether the row here has the same images and networks in mind; else it belongs to the full row.
        source: where it stands.
    """

    accuracy: float
    kd: float | None
    same_setup: bool
    source: str


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: of the row, and of its files.
        experiment: of conf/experiment.
        overrides: of its parameters, as of `flows.compose`.
        about: data set, networks and search, in words.
        published: None: nothing.
    """

    name: str
    experiment: str
    overrides: tuple[str, ...] = ()
    about: str = ""
    published: Published | None = None


@dataclass(frozen=True)
class Table:
    """Rows that stand together on the page."""

    title: str
    about: str
    rows: tuple[Row, ...]


def tables(path: Path = _FILE) -> list[Table]:
    """All rows, as they stand on the page."""
    told = read_yaml(path)
    entries = [entry for table in told["tables"] for entry in table["rows"]]
    known = {entry["name"]: entry for entry in entries if "accuracy" in entry}

    def made(entry: dict[str, Any]) -> Row:
        name = entry["name"]
        found = known.get(name.removesuffix(SMALL))
        published = found and Published(
            _share(found["accuracy"]), _share(found["kd"]) if "kd" in found else None, name in known, told["source"]
        )
        return Row(name, entry.get("experiment", name), tuple(entry.get("overrides", ())), entry["about"], published)

    return [Table(table["title"], table["about"], tuple(map(made, table["rows"]))) for table in told["tables"]]


def source(path: Path = _FILE) -> str:
    """Where the published numbers stand."""
    return str(read_yaml(path)["source"])


def absent_sets(path: Path = _FILE) -> tuple[str, ...]:
    """Data sets that were not at hand where the page is made."""
    return tuple(read_yaml(path)["absent"])


def choose(names: Sequence[str]) -> list[Row]:
    """The rows of these names, in this order; a name may be a pattern, as `mnist_*_small`, or any experiment's.

    Raises:
        ConfigError: a name fits none; the nearest is told.
    """
    known = {row.name: row for table in tables() for row in table.rows}
    others = {path.stem for path in (template() / "conf" / "experiment").glob("*.yaml")}
    known |= {name: Row(name, name) for name in sorted(others - known.keys())}
    chosen = dict[str, Row]()
    for name in names:
        found = {other: row for other, row in known.items() if fnmatch(other, name)}
        if not found:
            raise unknown_name("row", name, list(known))
        chosen |= found
    return list(chosen.values())


def _share(per_cent: float) -> float:
    return round(per_cent / 100, 6)
