"""The picture of `benchmarks.zero_shot`: accuracy against questions, a line for each student.

    python -m benchmarks.zero_shot_curve FILE… --plot FILE.png

The files are what `benchmarks.zero_shot --json` wrote, of one dataset; runs of one student with and without teacher
assistants are lines of their own, and a point is the mean over its seeds. `--published QUESTIONS=ACCURACY[,…]` adds
figures from elsewhere, `--published-name` says whose.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.picture import picture
from benchmarks.writable import require_writable
from db3.errors import ConfigError, DataError, Db3Error
from db3.files import read_json

Curve = dict[int, float]
"""Accuracy in per cent at each number of questions."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    try:
        require_writable(options.plot)
        curves = read_curves(options.files)
        if options.published:
            curves[options.published_name] = _published(options.published)
    except Db3Error as error:
        raise SystemExit(f"error: {error}") from None
    for name, curve in curves.items():
        print(f"{name:48}" + "  ".join(f"{at:,}: {value:.1f}" for at, value in curve.items()))
    _draw(curves, options.published_name, options.plot)


def read_curves(files: Iterable[Path]) -> dict[str, Curve]:
    """The curve of each student, by the name of its line.

    Raises:
        DataError: a file holds no run, or the files are of several datasets.
    """
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    datasets = set()
    for file in files:
        runs = read_json(file).get("runs", [])
        if not runs:
            raise DataError(f"{file} holds no runs; expected what `benchmarks.zero_shot --json` writes")
        for run in runs:
            datasets.add(run["dataset"])
            found[_name(run)][run["asked"]].append(100 * run["accuracy"])
    if len(datasets) > 1:
        raise DataError(f"the files are of {', '.join(sorted(datasets))}; expected one dataset: draw each alone")
    return {
        name: {at: float(np.mean(values)) for at, values in sorted(points.items())} for name, points in found.items()
    }


def _name(run: dict[str, Any]) -> str:
    samples = f", {run['real']:,} real images" if run["samples"] == "augmented" else ""
    beside = ", teacher assistants" if run["assistants"] else ""
    return f"{run['student']} ({run['student_parameters']:,}){samples}{beside}"


def _published(text: str) -> Curve:
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {int(at): float(value) for at, value in pairs}
    except ValueError:
        raise ConfigError(f"--published is {text!r}; expected QUESTIONS=ACCURACY[,…], as in 10000=63.5") from None


def _draw(curves: dict[str, Curve], published: str, path: Path) -> None:
    with picture(path, (7.5, 4.6)) as figure:
        axes = figure.subplots()
        for name, curve in curves.items():
            dashed = {"linestyle": "--", "color": "0.5"} if name == published else {}
            axes.plot(list(curve), list(curve.values()), marker="o", markersize=4, label=name, **dashed)
        axes.set_xscale("log")
        ticks = sorted({at for curve in curves.values() for at in curve})
        axes.set_xticks(ticks, [f"{at:,}" for at in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("questions")
        axes.set_ylabel("accuracy on the test split in per cent")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="benchmarks.zero_shot_curve", description=about, allow_abbrev=False)
    parser.add_argument("files", nargs="+", type=Path, help="of benchmarks.zero_shot --json")
    parser.add_argument("--plot", type=Path, required=True, help="write the picture here, as PNG")
    parser.add_argument("--published", help="QUESTIONS=ACCURACY[,…] of others")
    parser.add_argument("--published-name", default="published", help="whose")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
