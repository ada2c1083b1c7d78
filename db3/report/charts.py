"""The line and bar charts, each a function of its data and of the width it is drawn for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from db3.gate.curve import CoveragePoint
from db3.report.boundaries import Asked, Descent
from db3.report.formatting import number
from db3.report.svg import Frame, Number, Scale, drawing, element, label, path, spread_out
from db3.report.trust import GOAL, laxest

WIDE, NARROW = 760, 342
_STEEP = 30  # a loss that falls by more than this is drawn on a logarithmic scale
_LETTER = 7.4  # widest mean advance of a 12 px system font: room for names


def both(draw: Callable[[int], Markup]) -> Markup:
    """The same chart for a desktop and for a phone; the style sheet shows one of them."""
    wide, narrow = element("div", draw(WIDE), class_="wide"), element("div", draw(NARROW), class_="narrow")
    return wide + narrow


@dataclass(frozen=True)
class Mark:
    """A point in percent. kind: `student`, `step` (on its curve, unlabelled), `variant`, or `level` (a line across)."""

    name: str
    queries: float
    mean: float
    sd: float
    kind: str


def queries_chart(marks: Sequence[Mark], measure: str, width: int, unit: str = "queries per sample") -> Markup:
    """Accuracy or agreement against queries, log x; points far below the others sit on the lower edge."""
    height = 400 if width == WIDE else 340
    points, levels = [m for m in marks if m.kind != "level"], [m for m in marks if m.kind == "level"]
    low, high = _visible([m.mean - m.sd for m in points], [m.mean + m.sd for m in marks])
    margin = 14 + _LETTER * max(len(m.name) for m in marks if m.kind != "step")
    minimum = max(1.0, min(m.queries for m in points))
    largest = max(2 * minimum, *(m.queries for m in points))
    x = Scale(0.8 * minimum, 1.08 * largest, 46, width - margin, log=True)
    frame = Frame(x, Scale(low, high, height - 52, 34))
    parts = frame.axes(unit, f"{measure}, %", 6 if width == WIDE else 4)
    for mark in levels:
        y = frame.y(mark.mean)
        kind = "teacher" if mark.name == "teacher" else "closed"
        parts.append(element("line", x1=x.start, x2=x.end, y1=y, y2=y, class_=f"level {kind}"))
    own = sorted((m for m in points if m.kind in ("student", "step")), key=lambda m: m.queries)
    places = _beside(frame, points)
    if len(own) > 1:
        parts.append(path([(places[m.name], frame.y(max(low, m.mean))) for m in own], "line student"))
    parts += [_point(frame, mark, places[mark.name], low, unit) for mark in points]
    return drawing(
        width, height, _describe(marks, measure, unit), [*parts, *_labels(frame, points, levels, places, low)]
    )


def _beside(frame: Frame, points: Sequence[Mark], gap: Number = 7) -> dict[str, float]:
    """Where each point stands in x: those of (nearly) the same queries side by side, so that whiskers stay apart."""
    order = sorted(points, key=lambda m: (m.queries, m.mean))
    wanted = [frame.x(max(1, m.queries)) for m in order]
    return dict(zip((m.name for m in order), spread_out(wanted, gap, frame.x.start + 6, frame.x.end - 6), strict=True))


def _visible(lows: Sequence[float], highs: Sequence[float]) -> tuple[float, float]:
    """The y range: all values, but for lone ones so far below that the others would be squeezed together."""
    ordered, high = sorted(lows), max(highs)
    while len(ordered) > 2 and ordered[1] - ordered[0] > max(1.5 * (high - ordered[1]), 3):
        ordered = ordered[1:]
    pad = max(0.06 * (high - ordered[0]), 0.2)
    return ordered[0] - pad, high + pad


def _point(frame: Frame, mark: Mark, x: float, low: float, unit: str) -> Markup:
    shown = f"{mark.name}: {mark.mean:.2f} ± {mark.sd:.2f} %, "
    title = element("title", f"{shown}{number(mark.queries, 1)} {unit}")
    if mark.mean < low:
        y = frame.y.start
        return element("path", title, d=f"M{x - 5:.1f} {y - 9:.1f}h10l-5 8z", class_=f"dot {mark.kind}")
    top, bottom = frame.y(mark.mean + mark.sd), frame.y(max(low, mark.mean - mark.sd))
    whisker = element("line", x1=x, x2=x, y1=top, y2=bottom, class_=f"whisker {mark.kind}")
    size = {"student": 5.5, "step": 3.5}.get(mark.kind, 4.5)
    return whisker + element("circle", title, cx=x, cy=frame.y(mark.mean), r=size, class_=f"dot {mark.kind}")


def _labels(
    frame: Frame, points: Sequence[Mark], levels: Sequence[Mark], places: Mapping[str, float], low: float
) -> list[Markup]:
    """Names beside their points: those far right, and the levels, in the margin; the others right of the point."""
    named = [m for m in points if m.kind != "step"]
    right = [m for m in named if places[m.name] > 0.55 * frame.x.end]
    left = [m for m in named if m not in right]
    parts = []
    margin = frame.x.end + 10
    inner = max((places[m.name] for m in left), default=0.0) + 9
    for group, start in (([*right, *levels], margin), (left, inner)):
        wanted = [frame.y(max(low, m.mean)) for m in group]
        for mark, at, y in zip(group, wanted, spread_out(wanted, 15, 22, frame.y.start - 8), strict=True):
            x = places.get(mark.name, frame.x.end)
            if abs(y - at) > 3 or (mark.kind != "level" and start - x > 18):
                parts.append(element("line", x1=x + 5, y1=at, x2=start - 3, y2=y, class_="leader"))
            text = f"{mark.name}, {mark.mean:.0f} %" if mark.mean < low else mark.name
            parts.append(element("text", text, x=start, y=y + 4, class_=f"name {mark.kind}"))
    return parts


def _describe(marks: Sequence[Mark], measure: str, unit: str) -> str:
    said = "; ".join(
        f"{m.name} {m.mean:.1f}" + ("" if m.kind == "level" else f" at {number(m.queries, 1)}")
        for m in marks
        if m.kind != "step"
    )
    return f"{measure} in percent against {unit}. {said}."


def descent_chart(points: Sequence[Descent], width: int) -> Markup:
    """Mean boundary distance against queries per pair, log x, y from zero."""
    height = 300 if width == WIDE else 260
    low, high = points[0].queries, points[-1].queries
    frame = Frame(
        Scale(low / 1.25, high * 1.25, 46, width - 14, log=True),
        Scale(0, 1.12 * max(p.distance for p in points), height - 52, 34),
    )
    parts = frame.axes("queries per pair", "mean boundary distance (L2)", 6 if width == WIDE else 4)
    at = [(frame.x(p.queries), frame.y(p.distance)) for p in points]
    parts.append(path(at, "line student"))
    for point, (x, y) in zip(points, at, strict=True):
        title = element("title", f"{point.distance:.3f} after {number(point.queries)} queries per pair")
        parts.append(element("circle", title, cx=x, cy=y, r=4.5, class_="dot student"))
        parts.append(element("text", f"{point.distance:.2f}", x=x, y=y - 11, class_="name mid"))
    said = "; ".join(f"{p.distance:.2f} after {number(p.queries)}" for p in points)
    return drawing(width, height, f"Mean boundary distance against queries per pair: {said}.", parts)


def asked_chart(asked: Asked, width: int) -> Markup:
    """Histogram of queries asked per pair."""
    height = 220
    x = Scale(asked.edges[0], asked.edges[-1], 60, width - 14)
    frame = Frame(x, Scale(0, max(asked.counts), height - 52, 34))
    parts = frame.axes("queries asked by a pair", "pairs", 6 if width == WIDE else 4, 4)
    for low, high, count in zip(asked.edges[:-1], asked.edges[1:], asked.counts, strict=True):
        if count:
            title = element("title", f"{number(count)} pairs asked {low} to {high - 1} queries")
            top, left = frame.y(count), x(low) + 0.75
            parts.append(
                element(
                    "rect",
                    title,
                    x=left,
                    y=top,
                    width=max(1.0, x(high) - 0.75 - left),
                    height=frame.y.start - top,
                    class_="bar",
                )
            )
    said = f"{number(asked.mean, 1)} on average, from {asked.edges[0]} to {asked.edges[-1] - 1}"
    return drawing(width, height, f"Histogram of queries asked per pair: {said}.", parts)


def coverage_chart(curve: Sequence[CoveragePoint], width: int) -> Markup:
    """Agreement against the share answered, with what each point alone allows; the goal is a dashed line."""
    height = 300 if width == WIDE else 260
    low = 100 * min(GOAL, *(point.agreement for point in curve))
    low = max(0.0, low - max(1.0, 0.3 * (100 - low)))  # the intervals of the first few images would squeeze the rest
    frame = Frame(Scale(0, 100, 46, width - 14), Scale(low, 100, height - 52, 34))
    parts = frame.axes("images that the student answers, %", "of these as the teacher, %", 5)
    at = [frame.x(100 * point.coverage) for point in curve]
    lows = [frame.y(max(low, 100 * point.low)) for point in curve]
    highs = [frame.y(max(low, 100 * point.high)) for point in curve]
    parts.append(path([*zip(at, highs, strict=True), *list(zip(at, lows, strict=True))[::-1]], "band"))
    goal = frame.y(100 * GOAL)
    parts.append(element("line", x1=frame.x.start, x2=frame.x.end, y1=goal, y2=goal, class_="level closed"))
    parts.append(path([(x, frame.y(100 * p.agreement)) for x, p in zip(at, curve, strict=True)], "line student"))
    chosen = laxest(curve)
    for point in [curve[-1]] if chosen in (None, curve[-1]) else [chosen, curve[-1]]:
        said = f"{100 * point.agreement:.2f} % of {100 * point.coverage:.1f} %, scores from {point.threshold:g}"
        x, y = frame.x(100 * point.coverage), frame.y(100 * point.agreement)
        parts.append(element("circle", element("title", said), cx=x, cy=y, r=4.5, class_="dot student"))
    told = [point for point in curve if point in (chosen, curve[0], curve[-1])]
    said = "; ".join(f"{100 * p.agreement:.2f} of {100 * p.coverage:.1f}" for p in told)
    return drawing(width, height, f"Agreement in percent against percent of images answered: {said}.", parts)


def loss_panel(points: Sequence[tuple[Number, Number]], name: str, student: bool) -> Markup:
    """One variant's training loss by step, on its own scale: losses of different targets cannot be compared."""
    width, height = 216, 132
    low, high = min(loss for _, loss in points), max(loss for _, loss in points)
    log = 0 < _STEEP * low < high
    x = Scale(0, max(step for step, _ in points), 44, width - 10)
    y = Scale(low if log else min(low, 0), high if high > low or high > 0 else 1, height - 24, 12, log=log)
    parts = []
    for tick in y.ticks(3):
        parts.append(element("line", x1=x.start, x2=x.end, y1=y(tick), y2=y(tick), class_="grid"))
        parts.append(element("text", label(tick), x=x.start - 6, y=y(tick) + 4, class_="tick end"))
    for tick, place in ((0.0, ""), (x.high, " end")):
        parts.append(element("text", label(tick), x=x(tick), y=height - 6, class_=f"tick{place}"))
    parts.append(path([(x(step), y(loss)) for step, loss in points], "line student" if student else "line variant"))
    first, last = points[0], points[-1]
    said = f"Training loss of {name}: {first[1]:.3f} at step {first[0]:.0f}, {last[1]:.3f} at step {last[0]:.0f}."
    return drawing(width, height, said, parts)
