"""What the stages have written of their costs (`flows.costs`), read back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from db3.files import read_json
from db3.teachers.budget import TOKENS

QUERIES = "queries.json"


def sent_before(data: Path, digests: Mapping[str, str], otherwise: int) -> int:
    """Images that earlier stages have sent, in all their runs: as this machine counted them, else as a manifest tells.

    Args:
        data: the folder.
        digests: of what each of these stages wrote.
        otherwise: by the manifest, for all of them together: the votes kept.
    """
    counts = _counts(data)
    found = [counts.get(stage, {}) for stage in digests]
    pairs = zip(found, digests.values(), strict=True)
    counted = all(count.get("of") == digest and "sent_in_all" in count for count, digest in pairs)
    return sum(count["sent_in_all"] for count in found) if counted else otherwise


def cost_in_all(data: Path) -> float | None:
    """What all stages have cost together, as they have written it; None: none of them knew a price."""
    counts = _counts(data)
    costs = [entry["cost"] for entry in counts.values() if entry.get("cost") is not None]
    return sum(costs) if costs else None


def tokens_per_image(data: Path) -> tuple[float, float] | None:
    """Input and output tokens of an image, on average over all that was answered so far; None: none were counted."""
    counts = _counts(data)
    answered = sum(entry.get("sent_in_all", 0) - entry.get("lost", 0) for entry in counts.values())
    each = [sum(entry.get(name, 0) for entry in counts.values()) for name in TOKENS]
    return (each[0] / answered, each[1] / answered) if answered and any(each) else None


def _counts(data: Path) -> dict[str, Any]:
    """What each stage has written, by its name."""
    return dict(read_json(data / QUERIES)) if (data / QUERIES).is_file() else {}
