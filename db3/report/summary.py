"""The summary: one sentence, computed from the numbers, that says no more than they do."""

from collections.abc import Mapping

from db3.evaluation import Metrics
from db3.evaluation.results import Spread
from db3.report.formatting import HARD, decimals_for, percent, spread


def summary_line(metrics: Metrics, titles: Mapping[str, str]) -> str:
    """What the student gains over decisions alone, and where it stands beside the strongest black-box baseline.

    A difference counts only when it exceeds the sum of both standard deviations; with one seed there is none to
    compare with, and the sentence says so. Without labels, agreement with the teacher is compared.
    """
    measure, seeds = metrics.measure, metrics.seeds
    decimals = decimals_for(metrics.test_images)
    own: Spread = getattr(metrics.student, measure)
    measured = {name: getattr(values, measure) for name, values in metrics.baselines.items() if values.black_box}
    rivals: dict[str, Spread] = {name: score for name, score in measured.items() if score}
    if not rivals:
        shown = f"{measure} of {spread(own, decimals, seeds)}{HARD}%"
        return f"No baseline was trained beside the student, so its {shown} stands alone."
    best = max(rivals, key=lambda name: rivals[name].mean)
    first = "hard" if "hard" in rivals else best
    named = {name: f"“{titles.get(name, name)}”" for name in rivals} | {"hard": "training on decisions only"}
    text = f"With {spread(own, decimals, seeds)}{HARD}% {measure}, the student "
    text += _compare(own, rivals[first], named[first], decimals, seeds)
    if best != first:
        rival = f"the strongest black-box baseline, {named[best]}"
        text += f"; it {_compare(own, rivals[best], rival, decimals, seeds)}"
    return text + (". With one seed, chance is not ruled out." if seeds == 1 else ".")


def differ(one: Spread, other: Spread) -> bool:
    """Whether two means are further apart than both deviations together."""
    return abs(one.mean - other.mean) > one.sd + other.sd


def _compare(own: Spread, other: Spread, name: str, decimals: int, seeds: int) -> str:
    gap = own.mean - other.mean
    shown, points = f"{name} ({spread(other, decimals, seeds)}{HARD}%)", f"{percent(abs(gap), decimals)} points"
    if round(abs(gap), 6) == 0:
        return f"equals {shown}"
    if seeds > 1 and not differ(own, other):
        side = "above" if gap > 0 else "below"
        return f"is within noise of {shown}: {points} {side}, no more than both deviations together"
    clear = "" if seeds == 1 else ", more than both deviations together"
    return f"{'beats' if gap > 0 else 'falls behind'} {shown} by {points}{clear}"
