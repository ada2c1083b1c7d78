"""When the student may be trusted: what its curve of coverage against agreement leaves to the teacher."""

from collections.abc import Sequence

from db3.gate.curve import CoveragePoint
from db3.report.formatting import HARD, number, percent

GOAL = 0.99  # agreement that the page looks for


def laxest(curve: Sequence[CoveragePoint]) -> CoveragePoint | None:
    """The point with the most images answered, of those that reach the goal; None where none does."""
    reached = [point for point in curve if point.agreement >= GOAL]
    return max(reached, key=lambda point: point.coverage, default=None)


def bill_line(curve: Sequence[CoveragePoint], decimals: int) -> str:
    """One sentence: what the teacher would still be asked at the goal, on these images."""
    goal, point = f"{percent(GOAL, 0)}{HARD}%", laxest(curve)
    if point is None:
        return f"However sure the student had to be, it agreed on less than {goal} of what it answered: all is asked."
    agreed = f"{percent(point.agreement, decimals)}{HARD}%"
    if point.coverage == 1:
        return f"At {goal} agreement nothing is asked: the student answers every image, and agrees on {agreed}."
    share = f"{percent(1 - point.coverage)}{HARD}%"
    asked = number(1000 * (1 - point.coverage))
    return (
        f"At {goal} agreement {share} of the images are left to the teacher, {asked} questions for 1,000 images; the "
        f"student answers the others, and agrees on {agreed} of them."
    )
