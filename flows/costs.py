"""What a run has cost: a fact of the run and its kills, so in no versioned file (docs/pipeline.md)."""

from collections.abc import Mapping
from pathlib import Path

from db3.files import read_json, write_json
from db3.settings.teacher import Price
from db3.teachers.budget import TOKENS, UNCLEAR
from db3.teachers.fetch import REJECTED
from flows.bill import QUERIES
from flows.config import Config
from flows.engine.teacher_work import Asking


def write_costs(data: Path, stage: str, digest: str, asking: Asking, price: Price) -> str:
    """Write what a stage cost to data/queries.json.

    Returns:
        What a stage's last line says of it; nothing where each image was asked and sent once, in this run.
    """
    costs, path = asking.costs, data / QUERIES
    names = ("asked", "known", "sent", "sent_in_all", "lost", *UNCLEAR, *TOKENS)
    cost = price.cost(costs["sent_in_all"], *(costs[name] for name in TOKENS))
    entry = {"of": digest, **{name: costs[name] for name in names}, "cost": cost}
    write_json(path, {**(read_json(path) if path.is_file() else {}), stage: entry})
    earlier, lost = costs["sent_in_all"] - costs["sent"], costs["lost"]
    words = [f"{costs['known']:,} of them known already"] if costs["known"] else []
    words += [f"{costs['sent']:,} sent"] if costs["sent"] != costs["asked"] else []
    words += [f"{earlier:,} by earlier runs"] if earlier else []
    words += [f"{lost:,} of all these brought no answer (in flight when a run died, or sent again)"] if lost else []
    words += (
        [f"{costs[TOKENS[0]]:,} input and {costs[TOKENS[1]]:,} output tokens"] if any(map(costs.get, TOKENS)) else []
    )
    words += [] if cost is None else [f"cost {cost:,.2f} in all"]
    return "".join(f", {word}" for word in words) + _unclear_words(costs)


def _unclear_words(costs: Mapping[str, int]) -> str:
    """How many answers were no single class, and why."""
    kinds = zip(UNCLEAR, ("named no class", "named several", "were off the list"), strict=True)
    found = [f"{costs[name]:,} {words}" for name, words in kinds if costs[name]]
    return f"; counted as `{REJECTED}`: {', '.join(found)}" if found else ""


def spent_words(config: Config, asking: Asking, unfinished: int, of: str) -> str:
    """What a stage's last line says when the budget ended it."""
    if not asking.costs["spent"]:
        return ""
    return f"; budget.total of {config.budget.total:,} is spent: {unfinished:,} {of} unfinished"
