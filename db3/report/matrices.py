"""Class × class matrices: a table with numbers while they can be read, a picture beyond."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from db3.report.boundaries import ClassDistances
from db3.report.examples import data_uri

READABLE = 16  # classes whose numbers still fit a page's width
_PICTURE_SIDE = 256
_BLUE, _ORANGE, _GREY = (58, 125, 196), (207, 108, 38), (128, 128, 128)

Strengths = Float[np.ndarray, "k k"]
Layers = tuple[tuple[Strengths, tuple[int, int, int]], ...]


@dataclass(frozen=True)
class Cell:
    """One field: its text, the strength of its colour (0 … 1) and the style class that colours it."""

    text: str
    strength: float = 0.0
    kind: str = ""


@dataclass(frozen=True)
class Extreme:
    """A pair of classes worth naming: row's name, column's name, value as text."""

    row: str
    column: str
    value: str


@dataclass(frozen=True)
class Matrix:
    """Either `rows` of cells or a `picture`, and the pairs that stand out."""

    rows: list[list[Cell]] | None
    picture: str | None
    extremes: list[Extreme]
    low: str = ""
    high: str = ""


def distance_matrix(distances: ClassDistances, names: list[str]) -> Matrix:
    """Mean boundary distances; the nearer, the stronger the colour. Never reached classes are marked, not coloured."""
    mean, classes = distances.mean, len(names)
    finite = mean[np.isfinite(mean)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    span = high - low or 1.0
    strengths = np.where(np.isfinite(mean), 0.06 + 0.94 * (high - np.nan_to_num(mean)) / span, 0.0)
    decimals = 2 if high < 100 else 0
    shown = min(decimals, 1) if classes > 6 else decimals

    def cell(row: int, column: int) -> Cell:
        if row == column:
            return Cell("", kind="own")
        if not np.isfinite(mean[row, column]):
            return Cell("∞" if distances.samples[row] else "–", kind="none")
        return Cell(f"{mean[row, column]:.{shown}f}", float(strengths[row, column]), "near")

    off = [(mean[r, c], r, c) for r, c in np.argwhere(np.isfinite(mean)) if r != c]
    extremes = [Extreme(names[r], names[c], f"{d:.{decimals}f}") for d, r, c in sorted(off)[:5]]
    missing = ~np.isfinite(mean) & ~np.eye(classes, dtype=bool)
    layers = ((strengths, _BLUE), (0.25 * np.eye(classes), _GREY), (0.6 * missing, _ORANGE))
    return Matrix(*_view(cell, classes, layers), extremes, f"{low:.{decimals}f}", f"{high:.{decimals}f}")


def confusion_matrix(counts: Int[np.ndarray, "k k"], names: list[str]) -> Matrix:
    """Counts of decisions: the diagonal in blue by share of its row, disagreements in orange by share of the worst."""
    classes = len(names)
    rows = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    agreed = np.eye(classes, dtype=bool)
    wrong = np.where(agreed, 0, counts)
    worst = max(1, int(wrong.max()))
    diagonal = np.where(agreed & (counts > 0), 0.55 * counts / rows, 0.0)
    aside = np.where(wrong > 0, 0.2 + 0.8 * wrong / worst, 0.0)

    def cell(row: int, column: int) -> Cell:
        value = int(counts[row, column])
        if row == column:
            return Cell(str(value), float(diagonal[row, column]), "near")
        return Cell(str(value), float(aside[row, column]), "far") if value else Cell("·", kind="zero")

    ranked = sorted(((-int(counts[r, c]), int(r), int(c)) for r, c in np.argwhere(wrong)))
    extremes = [Extreme(names[r], names[c], str(-count)) for count, r, c in ranked[:5]]
    return Matrix(*_view(cell, classes, ((diagonal, _BLUE), (aside, _ORANGE))), extremes)


def _view(cell: Callable[[int, int], Cell], classes: int, layers: Layers) -> tuple[list[list[Cell]] | None, str | None]:
    """Rows of cells, or the picture that stands for them when there are too many to read."""
    if classes <= READABLE:
        return [[cell(row, column) for column in range(classes)] for row in range(classes)], None
    return None, data_uri(Image.fromarray(_picture(layers)))


def _picture(layers: Layers) -> UInt8[np.ndarray, "h w 4"]:
    """Later layers over earlier ones; strength is opacity, so the page's own background shows through in any theme."""
    side = len(layers[0][0])
    step = -(-side // _PICTURE_SIDE)
    small = [_pool(strength, step) for strength, _ in layers]
    image = np.zeros((*small[0].shape, 4), dtype=np.uint8)
    for strength, (_, colour) in zip(small, layers, strict=True):
        drawn = strength > 0
        image[drawn, :3] = colour
        image[drawn, 3] = np.rint(255 * np.clip(strength[drawn], 0, 1)).astype(np.uint8)
    return image


def _pool(values: Strengths, step: int) -> Float[np.ndarray, "s s"]:
    """The largest value of each step × step block: a lone strong cell stays visible."""
    pad = -len(values) % step
    padded = np.pad(values, ((0, pad), (0, pad)))
    side = len(padded) // step
    pooled: Float[np.ndarray, "s s"] = padded.reshape(side, step, side, step).max(axis=(1, 3))
    return pooled
