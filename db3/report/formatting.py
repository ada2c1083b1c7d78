"""Numbers and names as a reader wants them."""

from typing import Any

from db3.evaluation.results import Spread

MINUS = "\N{MINUS SIGN}"
THIN = "\N{NARROW NO-BREAK SPACE}"
HARD = "\N{NO-BREAK SPACE}"

_NETWORKS = {"lenet": "LeNet", "alexnet": "AlexNet", "resnet": "ResNet-"}


def number(value: float | int | None, decimals: int = 0) -> str:
    """`12345.6` → `12,346`; None → an en dash."""
    if value is None:
        return "–"
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def compact(value: float | int | None) -> str:
    """Three digits and a suffix: `2293000` → `2.29 M`."""
    return _scaled(value, ("", "k", "M", "G", "T"))


def size(value: float | int | None) -> str:
    """Bytes, decimal units: `751120` → `751 kB`."""
    return _scaled(value, ("B", "kB", "MB", "GB", "TB"))


def _scaled(value: float | int | None, units: tuple[str, ...]) -> str:
    if value is None:
        return "–"
    scaled, unit = float(value), 0
    while scaled >= 999.5 and unit < len(units) - 1:
        scaled, unit = scaled / 1000, unit + 1
    digits = 0 if unit == 0 or scaled >= 99.95 else 1 if scaled >= 9.995 else 2
    return f"{scaled:.{digits}f}{THIN}{units[unit]}".removesuffix(THIN)


def queries(value: float | int | None) -> str:
    """Queries per sample: one decimal where it says something."""
    return number(value, 0 if value is None or value >= 100 or float(value).is_integer() else 1)


def percent(value: float | int | None, decimals: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{decimals}f}"


def spread(score: Spread | None, decimals: int = 1, seeds: int = 2) -> str:
    """`Spread(.9702, .004)` → `97.0 ± 0.4`, in percent, broken only before the sign; one seed has no spread."""
    if score is not None and seeds == 1:
        return percent(score.mean, decimals)
    return "–" if score is None else f"{percent(score.mean, decimals)} ±{HARD}{percent(score.sd, decimals)}"


def decimals_for(test_images: int) -> int:
    """Decimals of a percentage that the test split can resolve."""
    return 2 if test_images >= 5000 else 1


def ratio(large: float | int | None, small: float | int | None) -> str | None:
    """How many times `small` fits into `large`; None where one is unknown."""
    if not large or not small:
        return None
    value = large / small
    if value < 1:
        return f"{value:.2g}×"
    return f"{value:.1f}×" if value < 99.95 else f"{value:,.0f}×"


def capital(text: str) -> str:
    """The text with its first letter in upper case, the others as they are."""
    return text[:1].upper() + text[1:]


def shorten(name: str, length: int = 14) -> str:
    return name if len(name) <= length else f"{name[: length - 1].rstrip()}…"


def network(name: Any) -> str:
    """`lenet5_half` → `LeNet5-Half`; other names stay as they are; an unknown one is a black box."""
    if not name:
        return "black box"
    text = str(name)
    for prefix, title in _NETWORKS.items():
        rest = text.removeprefix(prefix)
        if rest != text and all(part.isalnum() for part in rest.split("_") if part):
            return "-".join([f"{title}{rest.split('_')[0]}", *(part.title() for part in rest.split("_")[1:])])
    return text
