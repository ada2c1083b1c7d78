"""How pseudo samples came to be: a grid of snapshots, a row for each class, a column for each state."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from markupsafe import Markup
from PIL import Image

from db3.report.charts import WIDE, both
from db3.report.examples import data_uri
from db3.report.formatting import compact, number
from db3.report.snapshots import Snapshots
from db3.report.svg import drawing, element

_ROWS, _COLUMNS = 12, 6  # classes and states shown; more are thinned out evenly
_SIDE = 56  # pixels; larger images are scaled down to it
_GAP, _APART = 2, 8  # transparent pixels between images; between states
_LETTER = 7.4  # widest mean advance of a 12 px system font
_LONGEST = 14  # letters of a class name that are shown
_MINIMUM = 48  # pixels of a state's column: room for its numbers


def snapshot_grid(shown: Snapshots, class_names: Sequence[str], states: str = "iterations") -> Markup:
    """The grid for a desktop (up to three samples of a class beside each other) and for a phone (one).

    Args:
        shown: what it shows.
        class_names: of all classes.
        states: what `Snapshots.iterations` counts, in a word.
    """
    return both(lambda width: _grid(shown, class_names, (states, "queries"), width))


def mosaic(shown: Snapshots, classes: Sequence[int], states: Sequence[int], each: int) -> Image.Image:
    """One picture of the given classes (rows) and states (columns of `each` samples), gaps transparent.

    Two channels show their first, more than three their first three.
    """
    _, _, channels, height, width = shown.images.shape
    scale = min(1.0, _SIDE / max(height, width))
    tall, broad = max(1, round(height * scale)), max(1, round(width * scale))
    step = each * (broad + _GAP) - _GAP + _APART
    mode = "RGBA" if channels >= 3 else "LA"
    whole = Image.new(mode, (len(states) * step - _APART, len(classes) * (tall + _GAP) - _GAP))
    for row, k in enumerate(classes):
        for place, sample in enumerate(np.flatnonzero(shown.decisions == k)[:each]):
            for column, state in enumerate(states):
                one = Image.fromarray(_visible(shown.images[state, sample])).convert(mode)
                if scale < 1:
                    one = one.resize((broad, tall), Image.Resampling.LANCZOS)
                whole.paste(one, (column * step + place * (broad + _GAP), row * (tall + _GAP)))
    return whole


def _visible(image: UInt8[np.ndarray, "c h w"]) -> UInt8[np.ndarray, "h w *_"]:
    channels = np.moveaxis(image, 0, -1)
    return np.ascontiguousarray(channels[..., :3] if len(image) >= 3 else channels[..., 0])


def _grid(shown: Snapshots, class_names: Sequence[str], titles: tuple[str, str], width: int) -> Markup:
    present = np.unique(shown.decisions)
    classes = [int(present[place]) for place in _evenly(len(present), _ROWS)]
    states = _evenly(len(shown.iterations), _COLUMNS if width == WIDE else 3)
    maximum = int(np.bincount(shown.decisions).max())
    picture = mosaic(shown, classes, states, min(maximum, 3 if width == WIDE else 1))
    names = [_short(class_names[k]) for k in classes]
    left, top = round(12 + _LETTER * max(len(name) for name in (*names, *titles))), 40
    # Not beyond twice the size, so that few states do not become posters, but wide enough for their numbers.
    scale = min((width - left) / picture.width, max(2.0, _MINIMUM * len(states) / picture.width))
    across, down = picture.width * scale, picture.height * scale
    style = "image-rendering:pixelated"
    parts = [element("image", href=data_uri(picture), x=left, y=top, width=across, height=down, style=style)]
    places = [top + 4 + (row + 0.5) * (down + _GAP * scale) / len(names) for row in range(len(names))]
    lines = (top - 24, top - 9)
    named = zip((*titles, *names), (*lines, *places), strict=True)
    parts += [element("text", text, x=0, y=y, class_="tick") for text, y in named]
    for column, state in enumerate(states):
        x = left + column * (across + _APART * scale) / len(states)
        texts = (number(shown.iterations[state]), compact(shown.queries[state]))
        parts += [element("text", text, x=x, y=y) for text, y in zip(texts, lines, strict=True)]
    after = ", ".join(str(shown.iterations[state]) for state in states)
    label = f"Samples of {len(classes)} classes, {titles[0]} {after}"
    return drawing(width, round(top + down), label, parts)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def _evenly(total: int, count: int) -> list[int]:
    """Places of at most `count` of `total` things, first and last among them."""
    return list(range(total)) if total <= count else [round(i * (total - 1) / (count - 1)) for i in range(count)]
