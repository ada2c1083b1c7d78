"""Scales, ticks, labels that do not overlap, and escaping."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db3.report.svg import Scale, element, label, spread_out


def test_text_and_attributes_are_escaped() -> None:
    drawn = element("text", "a<b & c", class_="x", aria_label='"q"', y=1.50, hidden=None)
    assert drawn == '<text class="x" aria-label="&#34;q&#34;" y="1.5">a&lt;b &amp; c</text>'


def test_scales_map_ends_to_ends_and_log_by_ratio() -> None:
    assert Scale(0, 10, 100, 0)(5) == 50
    assert Scale(1, 100, 0, 200, log=True)(10) == pytest.approx(100)
    assert Scale(3, 3, 0, 10)(3) == 5


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e5), st.integers(2, 8))
def test_linear_ticks_are_inside_even_and_few(low: float, span: float, count: int) -> None:
    ticks = Scale(low, low + span, 0, 1).ticks(count)
    assert len(ticks) <= count + 1
    assert all(low - 1e-6 * span - 1e-9 <= tick <= low + span * (1 + 1e-6) + 1e-9 for tick in ticks)
    steps = [b - a for a, b in pairwise(ticks)]
    assert all(math.isclose(step, steps[0], rel_tol=1e-6, abs_tol=1e-9) for step in steps)


@given(st.floats(0.5, 1e3), st.floats(1.5, 1e5), st.integers(3, 8))
def test_log_ticks_are_inside_and_few(low: float, ratio: float, count: int) -> None:
    ticks = Scale(low, low * ratio, 0, 1, log=True).ticks(count)
    assert 1 <= len(ticks) <= count
    assert all(low * 0.998 <= tick <= low * ratio * 1.002 for tick in ticks)


@pytest.mark.parametrize(
    ("value", "said"), [(94.0, "94"), (0.5, "0.5"), (-2.0, "\N{MINUS SIGN}2"), (20000.0, "20,000")]
)
def test_tick_labels_have_no_trailing_zeros(value: float, said: str) -> None:
    assert label(value) == said


@given(st.lists(st.floats(0, 300), min_size=1, max_size=12))
def test_labels_keep_their_order_and_distance(wanted: list[float]) -> None:
    placed = spread_out(wanted, 15, 0, 300)
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    gaps = [placed[b] - placed[a] for a, b in pairwise(order)]
    assert all(gap >= 15 - 1e-6 for gap in gaps)
    assert min(placed) >= -1e-6
    assert max(placed) <= 300 + 1e-6


def test_labels_with_room_stay_where_they_are() -> None:
    assert spread_out([200, 10, 100], 15, 0, 300) == [200, 10, 100]
