"""Charts: every point inside the drawing, labels within its edges, and all of it told in words."""

import re
from xml.etree import ElementTree

import pytest

from db3.report.boundaries import Asked, Descent
from db3.report.charts import NARROW, WIDE, Mark, asked_chart, descent_chart, loss_panel, queries_chart

MARKS = [
    Mark("student", 760.0, 96.7, 0.4, "student"),
    Mark("student@10", 90.0, 95.6, 0.7, "step"),
    Mark("augmented", 760.0, 97.6, 0.8, "variant"),
    Mark("hard", 1.0, 93.9, 1.4, "variant"),
    Mark("smoothing", 1.0, 93.8, 0.2, "variant"),
    Mark("kd", 1.0, 97.8, 0.2, "level"),
    Mark("teacher", 0.0, 97.3, 0.0, "level"),
]


def shapes(drawing: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(drawing).iter())  # noqa: S314 - drawn here


def inside(drawing: str, width: int) -> None:
    for shape in shapes(drawing):
        for name in ("x", "x1", "x2", "cx"):
            assert -0.01 <= float(shape.get(name, 0)) <= width
        if shape.tag == "text" and "end" not in (shape.get("class") or "") and "mid" not in (shape.get("class") or ""):
            assert float(shape.get("x", 0)) + 6.9 * len(shape.text or "") <= width + 1


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_point_is_drawn_inside_and_named_once(width: int) -> None:
    drawing = queries_chart(MARKS, "accuracy", width)
    inside(drawing, width)
    named = [shape.text for shape in shapes(drawing) if "name" in (shape.get("class") or "").split()]
    assert sorted(named) == sorted(mark.name for mark in MARKS if mark.kind != "step")
    assert len(re.findall("<circle", drawing)) == 5
    assert "student 96.7 at 760.0" in drawing


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_labels_do_not_cover_each_other(width: int) -> None:
    found = [
        shape for shape in shapes(queries_chart(MARKS, "accuracy", width)) if "name" in shape.get("class", "").split()
    ]
    places = [(float(s.get("x", 0)), float(s.get("y", 0)), len(s.text or "")) for s in found]
    for i, (x, y, length) in enumerate(places):
        for other_x, other_y, _ in places[i + 1 :]:
            assert abs(y - other_y) >= 14 or abs(x - other_x) > 6 * length


def test_a_lone_failure_sits_on_the_edge_with_its_number() -> None:
    drawing = queries_chart([*MARKS, Mark("noise", 1.0, 20.0, 1.0, "variant")], "accuracy", WIDE)
    assert "noise, 20 %" in drawing
    assert len(re.findall("<circle", drawing)) == 5


@pytest.mark.parametrize("marks", [MARKS[:1], [Mark("student", 0.0, 50.0, 0.0, "student")]])
def test_a_single_point_is_a_chart_too(marks: list[Mark]) -> None:
    inside(queries_chart(marks, "agreement", NARROW), NARROW)


def test_descent_tells_its_numbers() -> None:
    drawing = descent_chart([Descent(10.0, 5.99, 0.9), Descent(100.0, 3.07, 1.0)], WIDE)
    inside(drawing, WIDE)
    assert "5.99 after 10; 3.07 after 100" in drawing


def test_bars_are_as_high_as_their_counts() -> None:
    drawing = asked_chart(Asked([0, 5, 10, 15], [10, 0, 5], 4.0), WIDE)
    heights = [float(shape.get("height", 0)) for shape in shapes(drawing) if shape.tag == "rect"]
    assert heights[0] == pytest.approx(2 * heights[1], rel=1e-3)


def test_loss_panels_tell_first_and_last() -> None:
    drawing = loss_panel([(10.0, 2.5), (600.0, 0.125)], "Hard <b>", student=False)
    assert "2.500 at step 10, 0.125 at step 600" in drawing
    assert "&lt;b&gt;" in drawing
    inside(loss_panel([(1.0, 0.0)], "flat", student=True), 216)


def heights(drawing: str) -> list[float]:
    line = next(shape for shape in shapes(drawing) if "line" in (shape.get("class") or "").split())
    return [float(pair.split()[1]) for pair in (line.get("d") or "")[1:].split("L")]


def test_a_steep_loss_is_drawn_by_its_logarithm() -> None:
    top, middle, bottom = heights(loss_panel([(0.0, 100.0), (1.0, 10.0), (2.0, 1.0)], "steep", student=True))
    assert middle - top == pytest.approx(bottom - middle, abs=0.02)
    top, middle, bottom = heights(loss_panel([(0.0, 20.0), (1.0, 10.0), (2.0, 1.0)], "mild", student=True))
    assert bottom - middle == pytest.approx(0.9 * (middle - top), abs=0.02)
