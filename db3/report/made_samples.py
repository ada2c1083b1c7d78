"""What the report tells of samples that were made, in words."""

from db3.report.formatting import HARD, number, percent
from db3.report.run import SampleFacts

_FORETOLD = 0.45  # digits and MNIST foretell 0.48 to 0.76, CIFAR-10 0.34 to 0.42: docs/guides/zero-shot.md


def story(samples: SampleFacts) -> str:
    """How the samples came to be, in a sentence or two; empty for real ones."""
    if samples.method == "real":
        return ""
    asked = number(samples.asked)
    match samples.method:
        case "zsdb3":
            parts = ", ".join(f"{number(count)} for {name}" for name, count in samples.purposes.items())
            return (
                f"Pseudo samples (ZSDB3): noise of every class, moved away from the teacher’s boundaries. {asked} "
                f"queries: {parts}. No image of the dataset was used."
            )
        case "priors" | "augmented" as method:
            kinds = {"real": "real images", "prior": "prior images", "variation": "variations of decided images"}
            parts = ", ".join(f"{number(count)} {kinds[name]}" for name, count in samples.sources.items() if count)
            own = " No image of the dataset was used." if method == "priors" else ""
            return (
                f"Made and chosen round by round: {parts}; {number(samples.proposed)} were proposed, {asked} "
                f"asked.{_foretold(samples.foretold)}{own}"
            )
    return ""


def made_warning(foretold: float | None, method: str, *, few: str = "samples=augmented", more: str) -> list[str]:
    """What to know where decisions on made images are hardly foretold by what was learnt of the others.

    Args:
        foretold: see `SampleFacts`.
        method: how samples were made.
        few: how to give a few real images.
        more: what allows more queries.
    """
    if foretold is None or foretold >= _FORETOLD:
        return []
    real = f"Real images help, however few ({few}), then" if method == "priors" else "More real images help, then"
    return [
        f"A network that had learnt all decisions before foretold only {percent(foretold, 0)}{HARD}% of those "
        "on the last round’s images, so made images teach little of this teacher: expect a student far behind it. "
        f"{real} {more} and a larger student."
    ]


def front_door_warning(foretold: float | None, method: str) -> list[str]:
    """The same in the words of `db3.distill`."""
    return made_warning(foretold, method, few="given as images", more="more queries")


def _foretold(share: float | None) -> str:
    if share is None:
        return ""
    return f" The surrogate had foretold {percent(share, 0)}{HARD}% of the last round’s decisions."
