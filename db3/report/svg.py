"""Drawing in SVG: elements, scales and axes.

Colours come from the page's style sheet, by class, so that they follow its theme.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

Number = int | float
Points = Sequence[tuple[Number, Number]]


def element(tag: str, *content: str | Markup, **attributes: str | float | int | None) -> Markup:
    """One element; text is escaped, `class_` and `aria_label` become `class` and `aria-label`, None is left out."""
    pairs = ((name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items() if value is not None)
    inside = "".join(f' {name}="{escape(_text(value))}"' for name, value in pairs)
    return Markup(f"<{tag}{inside}>{''.join(escape(part) for part in content)}</{tag}>")  # noqa: S704 - escaped above


def drawing(width: int, height: int, label: str, parts: Sequence[Markup]) -> Markup:
    return element(
        "svg", *parts, viewBox=f"0 0 {width} {height}", width=width, height=height, role="img", aria_label=label
    )


def path(points: Points, class_: str) -> Markup:
    """A line through points in pixels."""
    return element("path", d="M" + "L".join(f"{_text(x)} {_text(y)}" for x, y in points), class_=class_)


def _text(value: str | float | int) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Scale:
    """From values in [low, high] to pixels in [start, end], linearly or by logarithm."""

    low: Number
    high: Number
    start: Number
    end: Number
    log: bool = False

    def __call__(self, value: Number) -> float:
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        share = (value - low) / (high - low) if high > low else 0.5
        return float(self.start + share * (self.end - self.start))

    def ticks(self, count: int) -> list[float]:
        """About `count` round values inside the range."""
        return _log_ticks(self.low, self.high, count) if self.log else _linear_ticks(self.low, self.high, count)


def _linear_ticks(low: Number, high: Number, count: int) -> list[float]:
    if high <= low:
        return [float(low)]
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _log_ticks(low: Number, high: Number, count: int) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [digit * 10.0**power for power in powers for digit in digits]
        inside = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if len(inside) <= count:
            break
    if len(inside) > count:
        inside = inside[:: math.ceil(len(inside) / count)]
    return inside or [float(low)]


@dataclass(frozen=True)
class Frame:
    """The plotting area of one drawing: an x and a y scale in pixels."""

    x: Scale
    y: Scale

    def axes(self, x_title: str, y_title: str, x_ticks: int = 6, y_ticks: int = 5) -> list[Markup]:
        """Horizontal hairlines, tick labels and the two titles."""
        left, right, bottom, top = self.x.start, self.x.end, self.y.start, self.y.end
        parts = []
        for tick in self.y.ticks(y_ticks):
            y = self.y(tick)
            parts.append(element("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
            parts.append(element("text", label(tick), x=left - 8, y=y + 4, class_="tick end"))
        parts.append(element("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis"))
        for tick in self.x.ticks(x_ticks):
            x = self.x(tick)
            parts.append(element("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="axis"))
            parts.append(element("text", label(tick), x=x, y=bottom + 18, class_="tick mid"))
        parts.append(element("text", x_title, x=(left + right) / 2, y=bottom + 38, class_="title mid"))
        parts.append(element("text", y_title, x=0, y=top - 14, class_="title"))
        return parts


def label(value: Number) -> str:
    """A tick's label: no trailing zeros, thousands separated."""
    text = f"{value:,.4f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:,.0f}"
    return text.replace("-", "\N{MINUS SIGN}")


def spread_out(wanted: Sequence[Number], gap: Number, low: Number, high: Number) -> list[float]:
    """Move positions apart until neighbours are `gap` away, as near to where they were as order allows.

    Positions keep their order; when there is no room in [low, high] they leave it at the far end.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = [0.0] * len(wanted)
    clusters: list[list[int]] = []
    for index in order:
        clusters.append([index])
        while len(clusters) > 1 and _top(clusters[-1], wanted, gap, low, high) < (
            _top(clusters[-2], wanted, gap, low, high) + len(clusters[-2]) * gap
        ):
            clusters[-2:] = [clusters[-2] + clusters[-1]]
    for cluster in clusters:
        top = _top(cluster, wanted, gap, low, high)
        for place, index in enumerate(cluster):
            placed[index] = top + place * gap
    return placed


def _top(cluster: Sequence[int], wanted: Sequence[Number], gap: Number, low: Number, high: Number) -> float:
    """Where a block of labels begins so that its centre is at the mean of what its members want."""
    length = (len(cluster) - 1) * gap
    middle = sum(wanted[index] for index in cluster) / len(cluster)
    return float(max(low, min(high - length, middle - length / 2)))
