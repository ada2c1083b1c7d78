"""Which variant the student is, and why: one sentence."""

from collections.abc import Mapping

from db3.report.formatting import HARD, number, percent
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


def boundary_warning(boundary: float | None) -> str | None:
    """What to know where decisions change so close to the samples that distances tell nothing of the classes."""
    if boundary is None or boundary >= _DUST:
        return None
    return (
        f"Half of the boundaries found lie within {percent(boundary, 1)}{HARD}% of the way to the nearest sample of "
        "the other class: this teacher’s decisions change at dust, so boundary searches tell little of its classes; "
        "spend the queries on more images instead (samples=augmented, query=none)."
    )


def _own(own: str, titles: Mapping[str, str]) -> str:
    """What the student's own variant learns from; it goes by another name where a baseline took its place."""
    return f"“{titles.get('searched', titles.get(own, own))}”"


def _share(name: str, choice: ChoiceFacts) -> str:
    return f"{percent(choice.agreed[name] / choice.samples, 1)}{HARD}%"
