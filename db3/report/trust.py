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
        return f"However sure the student had to be, it agrees on less than {goal} of what it answers: all is asked."
    agreed = f"{percent(point.agreement, decimals)}{HARD}%"
    if point.coverage == 1:
        return f"For {goal} agreement on these images nothing is asked: the student answers all and agrees on {agreed}."
    asked, of_1000 = f"{percent(1 - point.coverage)}{HARD}%", number(1000 * (1 - point.coverage))
    return (
        f"For {goal} agreement on these images the teacher is asked about {asked} of them, {of_1000} in 1,000; the "
        f"student answers the others itself and agrees on {agreed}."
    )
