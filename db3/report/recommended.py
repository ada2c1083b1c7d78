"""Which variant the student is, and why: one sentence; and what its user should be warned of."""

import math
from collections.abc import Mapping

from db3.evaluation import Metrics
from db3.report.formatting import HARD, capital, number, percent, queries
from db3.report.run import ChoiceFacts

_DUST = 0.05  # of the way to the nearest sample of the other class; digits and forests: a half and more


def choice_line(choice: ChoiceFacts | None, titles: Mapping[str, str]) -> str | None:
    """Why this student is recommended, or why nothing was there to choose from; None where neither is told."""
    if choice is None or not choice.agreed:
        reason = choice.reason if choice else None
        return f"The student was not chosen among the variants: {reason}." if reason else None
    own, *rivals = choice.agreed
    told = f"on {number(choice.samples)} samples held out, whose decisions were known, it agrees with the teacher on"
    if choice.name != own:
        return (
            f"The student recommended learns what “{titles.get(choice.name, choice.name)}” does: {told} "
            f"{_share(choice.name, choice)}, what the run itself asked for ({_own(own, titles)}) on "
            f"{_share(own, choice)}, more than one standard error less."
        )
    best = max(rivals, key=lambda name: choice.agreed[name])
    return (
        f"The student of {_own(own, titles)} is recommended: {told} {_share(own, choice)}, and no baseline is ahead "
        f"by more than one standard error (the best, “{titles.get(best, best)}”, {_share(best, choice)})."
    )


def boundary_warning(boundary: float | None) -> list[str]:
    """What to know where decisions change so close to the samples that distances tell nothing of the classes."""
    if boundary is None or boundary >= _DUST:
        return []
    return [
        f"Half of the boundaries found lie within {percent(boundary, 1)}{HARD}% of the way to the nearest sample of "
        "the other class: this teacher’s decisions change at dust, so boundary searches tell little of its classes; "
        "spend the queries on more images instead (samples=augmented, query=none)."
    ]


def queries_warning(choice: ChoiceFacts | None, metrics: Metrics, titles: Mapping[str, str]) -> list[str]:
    """What to know where a baseline of one query a sample is level with the student of the searches."""
    if choice is None or not choice.agreed or choice.name != next(iter(choice.agreed)):
        return []
    cheap = [name for name, found in metrics.baselines.items() if found.black_box and found.queries_per_sample <= 1]
    level = [name for name in cheap if choice.leads.get(name, -math.inf) > -1]
    if not level or metrics.queries.per_sample <= 1:
        return []
    best = max(level, key=lambda name: choice.agreed[name])
    return [
        f"“{capital(titles.get(best, best))}”, at one query a sample, is less than one standard error behind "
        f"({_share(best, choice)} of the samples held out): they do not show that the other "
        f"{queries(metrics.queries.per_sample - 1)} queries a sample have brought anything. With few samples that may "
        "be chance; a teacher that is noisy away from real images, as trees are, is better learnt softly "
        "(distill.smoothing=0.1 soft_labels.queried_images=0.5), or from more real images."
    ]


def _own(own: str, titles: Mapping[str, str]) -> str:
    """What the student's own variant learns from; it goes by another name where a baseline took its place."""
    return f"“{titles.get('searched', titles.get(own, own))}”"


def _share(name: str, choice: ChoiceFacts) -> str:
    return f"{percent(choice.agreed[name] / choice.samples, 1)}{HARD}%"
