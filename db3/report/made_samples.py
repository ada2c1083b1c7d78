"""What the report tells of samples that were made, in words."""

from db3.report.formatting import HARD, number, percent
from db3.report.run import SampleFacts


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


def _foretold(share: float | None) -> str:
    if share is None:
        return ""
    return f" The surrogate had foretold {percent(share, 0)}{HARD}% of the last round’s decisions."
