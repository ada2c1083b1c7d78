"""What the studies' pictures share: points with their spread, and bars in groups."""

from collections.abc import Sequence
from typing import Any

from benchmarks.studies.shared import Row

COLOURS = {
    "teacher": "0.45",
    "hard": "C7",
    "smoothing": "C0",
    "margin": "C2",
    "inverse": "C4",
    "student": "C3",
    "augmented": "C1",
    "kd": "black",
}
NAMES = {"student": "queried images", "kd": "kd (white box)", "smoothing": "label smoothing"}


def line(axes: Any, rows: Sequence[Row], x: str, measure: str, kind: str, scale: float = 100) -> None:
    """A measure's mean and spread over x, rising."""
    rows = sorted(rows, key=lambda row: float(row[x]))
    axes.errorbar(
        [row[x] for row in rows],
        [scale * row[measure]["mean"] for row in rows],
        [scale * row[measure]["sd"] for row in rows],
        marker="o",
        markersize=4,
        linewidth=1.2,
        capsize=2,
        color=COLOURS.get(kind),
        label=NAMES.get(kind, kind),
    )


def bars(axes: Any, groups: Sequence[str], series: dict[str, list[Row | None]], measure: str, scale: float) -> None:
    """One group of bars for each name, one bar of each series in it; None leaves a gap."""
    width = 0.8 / len(series)
    for place, (kind, rows) in enumerate(series.items()):
        at = [number + (place - (len(series) - 1) / 2) * width for number in range(len(groups))]
        shown = [(x, row[measure]) for x, row in zip(at, rows, strict=True) if row is not None]
        heights = [scale * value["mean"] for _, value in shown]
        spread = [scale * value["sd"] for _, value in shown]
        label = NAMES.get(kind, kind)
        axes.bar([x for x, _ in shown], heights, width, yerr=spread, capsize=2, color=COLOURS.get(kind), label=label)
    axes.set_xticks(range(len(groups)), groups)


def finish(axes: Any, **labels: Any) -> None:
    """Labels, a light grid and a legend without a frame."""
    axes.set(**labels)
    axes.grid(alpha=0.3, axis="y")
    axes.legend(frameon=False, fontsize=8)
