"""What a run has cost: a fact of the run and its kills, so in no versioned file (docs/pipeline.md)."""

from collections.abc import Mapping
from pathlib import Path

from db3.files import read_json, write_json
from db3.teachers.budget import UNCLEAR
from db3.teachers.fetch import REJECTED
from flows.config import Config
from flows.engine.teacher_work import Asking

QUERIES = "queries.json"


def sent_before(data: Path, digests: Mapping[str, str], otherwise: int) -> int:
    """Images that earlier stages have sent, in all their runs: as this machine counted them, else as a manifest tells.

    Args:
        data: the folder.
        digests: of what each of these stages wrote.
        otherwise: by the manifest, for all of them together: the votes kept.
    """
    counts = read_json(data / QUERIES) if (data / QUERIES).is_file() else {}
    found = [counts.get(stage, {}) for stage in digests]
    pairs = zip(found, digests.values(), strict=True)
    counted = all(count.get("of") == digest and "sent_in_all" in count for count, digest in pairs)
    return sum(count["sent_in_all"] for count in found) if counted else otherwise


def write_costs(data: Path, stage: str, digest: str, asking: Asking) -> str:
    """Write what a stage cost to data/queries.json.

    Returns:
        What a stage's last line says of it; nothing where each image was asked and sent once, in this run.
    """
    costs, path = asking.costs, data / QUERIES
    names = ("asked", "known", "sent", "sent_in_all", "lost", *UNCLEAR, "tokens")
    entry = {"of": digest, **{name: costs[name] for name in names}}
    write_json(path, {**(read_json(path) if path.is_file() else {}), stage: entry})
    earlier, lost = costs["sent_in_all"] - costs["sent"], costs["lost"]
    words = [f"{costs['known']:,} of them known already"] if costs["known"] else []
    words += [f"{costs['sent']:,} sent"] if costs["sent"] != costs["asked"] else []
    words += [f"{earlier:,} by earlier runs"] if earlier else []
    words += [f"{lost:,} of all these brought no answer (in flight when a run died, or sent again)"] if lost else []
    words += [f"{costs['tokens']:,} tokens"] if costs["tokens"] else []
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
