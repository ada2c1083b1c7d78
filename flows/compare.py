"""`db3 compare A B`: two runs side by side, as a text table and as one page that works offline.

A run is a project's folder, its data folder, or a git revision of the project in the current folder, whose metrics DVC
brings from its cache or a remote.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from db3.errors import DataError, one_line
from db3.evaluation import Metrics
from db3.files import write_text
from db3.report.compare import Side, build_comparison, compare, comparison_text, side_of
from flows.engine.stage import run_entry_point
from flows.manifests import read_manifest
from flows.yaml_files import read_yaml

METRICS, PARAMS = "data/evaluation/metrics.json", "params.yaml"


def read_side(given: str) -> Side:
    """The run in a folder, or of a revision.

    Raises:
        DataError: there is none, or a file of it is damaged.
    """
    folder = Path(given)
    if not folder.is_dir():
        return _read_revision(given)
    root = folder if (folder / "data").is_dir() else folder.parent
    data = folder / "data" if (folder / "data").is_dir() else folder
    path = data / "evaluation" / "metrics.json"
    if not path.is_file():
        raise DataError(f"{given} holds no finished run, since {path} is missing; run `dvc repro` in its project")
    metrics = read_manifest(path, Metrics)
    params = root / PARAMS
    return side_of(given, metrics, read_yaml(params) if params.is_file() else None)


def _read_revision(revision: str) -> Side:
    """Of the project here, from DVC; nothing in the workspace changes."""
    with tempfile.TemporaryDirectory(prefix="db3-compare-") as name:
        for file in (METRICS, PARAMS):
            out = Path(name) / Path(file).name
            command = [sys.executable, "-m", "dvc", "get", "--quiet", "--rev", revision, "--out", str(out), ".", file]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                said = one_line(done.stderr.strip().removeprefix("ERROR: "), 160)
                raise DataError(
                    f"{revision!r} is no folder, and DVC has no {file} of it as a revision"
                    f"{f' ({said})' if said else ''}; expected a run's folder, a branch, a "
                    "commit or an experiment of the project here, whose metrics DVC's cache or its remote holds"
                )
        metrics = read_manifest(Path(name) / "metrics.json", Metrics)
        return side_of(revision, metrics, read_yaml(Path(name) / PARAMS))


def write_comparison(one: str, other: str, out: Path) -> str:
    """Write the page; the text table, and where the page lies."""
    sides = read_side(one), read_side(other)
    write_text(out, build_comparison(*sides))
    return f"{comparison_text(compare(*sides))}\n\nopen {out} in a browser"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """`db3 compare`."""
    parser = argparse.ArgumentParser(
        prog="db3 compare",
        description="Compare two runs: metrics, variants, queries and the parameters that differ.",
        epilog="A run is a project's folder or a git revision (branch, commit, experiment) of the project here.",
    )
    parser.add_argument("one", metavar="A")
    parser.add_argument("other", metavar="B")
    parser.add_argument("--out", type=Path, default=Path("comparison.html"), help="the page (default: %(default)s)")
    options = parser.parse_args(arguments)
    run_entry_point(lambda: write_comparison(options.one, options.other, options.out))
