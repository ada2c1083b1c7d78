"""The palette keeps text readable: WCAG AA (4.5 : 1) in light and dark, on the page and on the strongest cells."""

import re
from pathlib import Path

import pytest

import db3.report

CSS = (Path(db3.report.__file__).parent / "style.css").read_text(encoding="utf-8")
ROOTS = [dict(re.findall(r"--([\w-]+):\s*([^;]+);", block)) for block in re.findall(r":root \{(.*?)\}", CSS, re.S)]


def channels(colour: str) -> list[float]:
    if colour.startswith("#"):
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        return [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    return [int(part) / 255 for part in colour.split()]


def luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", ROOTS, ids=["light", "dark", "print"])
def test_text_is_readable_everywhere(palette: dict[str, str]) -> None:
    for text, ground in [
        ("ink", "page"), ("soft", "page"), ("blue", "page"), ("ink", "wash"), ("soft", "wash"), ("ink", "heat"),
        ("ink", "warm"),
    ]:  # fmt: skip
        assert contrast(palette[text], palette[ground]) >= 4.5, (text, ground)


def test_contrast_knows_black_on_white() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
