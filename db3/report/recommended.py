"""Which variant the student is, and why: one sentence."""

from collections.abc import Mapping

from db3.report.formatting import HARD, number, percent
from db3.students.choose import Candidate, Choice

_DUST = 0.05  # of the way to the nearest sample of the other class; digits and photographs: a quarter to a half


def choice_line(choice: Choice, titles: Mapping[str, str]) -> str | None:
    """Why this student is recommended; None where nothing was there to choose from."""
    if not choice.candidates:
        return None
    own = choice.candidates[0]
    chosen = next(each for each in choice.candidates if each.name == choice.name)
    told = f"on {number(choice.samples)} samples held out, whose decisions were known, it agrees with the teacher on"
    if chosen is not own:
        return (
            f"The student recommended learns what “{titles.get(chosen.name, chosen.name)}” does: {told} "
            f"{_share(chosen, choice)}, the student of the boundary searches on {_share(own, choice)}, more than one "
            "standard error less."
        )
    best = max(choice.candidates[1:], key=lambda each: each.agreed)
    return (
        f"The student of the boundary searches is recommended: {told} {_share(own, choice)}, and no baseline is ahead "
        f"by more than one standard error (the best, “{titles.get(best.name, best.name)}”, {_share(best, choice)})."
    )


def boundary_warning(choice: Choice) -> str | None:
    """What to know where decisions change so close to the samples that distances tell nothing of the classes."""
    if choice.boundary is None or choice.boundary >= _DUST:
        return None
    return (
        f"Half of the boundaries found lie within {percent(choice.boundary, 1)}{HARD}% of the way to the nearest "
        "sample of the other class: this teacher’s decisions change at dust, so boundary searches tell little of its "
        "classes; "
        "spend the queries on more images instead (samples=augmented, query=none)."
    )


def _share(candidate: Candidate, choice: Choice) -> str:
    return f"{percent(candidate.agreed / choice.samples, 1)}{HARD}%"
