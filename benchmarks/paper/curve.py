"""A picture: accuracy of each kind of student against the number of samples."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.paper.page import BASELINES
from benchmarks.paper.record import Record
from benchmarks.picture import picture

_NAMES = ("student", *BASELINES, "kd")


def draw(records: Sequence[Record], path: Path) -> None:
    """Write the picture as PNG; its bytes depend on the records and matplotlib alone."""
    with picture(path, (6.4, 4.0), layout=None) as figure:
        axis = figure.subplots()
        for place, name in enumerate(_NAMES):
            points = [
                (record["samples"]["count"], found["accuracy"])
                for record in records
                if (found := record.get("ours" if name == "student" else name))
            ]
            if points:
                counts, values = zip(*points, strict=True)
                axis.errorbar(
                    counts,
                    [100 * value["mean"] for value in values],
                    [100 * value["sd"] for value in values],
                    color="black" if name == "student" else f"C{place}",
                    linewidth=2 if name == "student" else 1,
                    linestyle=":" if name == "kd" else "-",
                    marker="o",
                    markersize=3,
                    label="KD from logits (no black box)" if name == "kd" else name,
                )
        ticks = sorted({record["samples"]["count"] for record in records})
        axis.set(xscale="log", xlabel="samples", ylabel="test accuracy, %")
        axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axis.set_xticks([], minor=True)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
        figure.tight_layout()
