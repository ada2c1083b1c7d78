"""The picture of a benchmark: distance against queries, one line an algorithm."""

from pathlib import Path
from typing import Any

from benchmarks.picture import picture

_ORDER = ("auto", "guided", "semicircle", "hopskipjump", "sign_opt", "bd", "foolbox", "art")
_NAMES = {"bd": "BD", "sign_opt": "Sign-OPT (paper)", "hopskipjump": "HopSkipJump", "foolbox": "foolbox HopSkipJump"}
_NAMES |= {"art": "ART HopSkipJump", "guided": "guided", "auto": "auto", "semicircle": "semicircle"}
_COLOURS = dict(zip(_ORDER, ("C3", "C1", "C2", "C0", "C4", "C7", "C5", "C9"), strict=True))


def plot(result: dict[str, Any], path: Path) -> None:
    """Mean distance / white-box minimum against queries per pair, both axes logarithmic, as PNG."""
    with picture(path, (7.5, 4.6)) as figure:
        axes = figure.subplots()
        ratios = result["ratio"]
        for name in sorted(ratios, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER)):
            queries, values = zip(*sorted((int(at), value) for at, value in ratios[name].items()), strict=True)
            peer = {"linestyle": "--"} if name in ("foolbox", "art") else {}
            axes.plot(
                queries, values, marker="o", markersize=4, color=_COLOURS.get(name), label=_NAMES.get(name), **peer
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        ticks = sorted({int(at) for values in ratios.values() for at in values})
        axes.set_xticks(ticks, [f"{at:,}" for at in ticks])
        axes.set_xticks([], minor=True)
        heights = (1, 1.05, 1.1, 1.2, 1.4, 1.7, 2, 2.5, 3)
        axes.set_yticks(heights, [f"{height:g}" for height in heights])
        axes.set_yticks([], minor=True)
        axes.set_ylim(1, max(max(values.values()) for values in ratios.values()) * 1.03)
        axes.set_xlabel("queries per pair")
        axes.set_ylabel("mean distance / white-box minimum")
        axes.set_title(
            f"Boundary distance, {result['pairs']} pairs, surrogates of {result['decisions']:,} decisions", fontsize=11
        )
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
