"""Stage samples: the images of the transfer set, real or made, and the teacher's decision on each."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from db3.errors import ConfigError
from flows.config import Config
from flows.engine.stage import stage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from flows.engine.teacher_work import Asking


@stage("samples")
def samples(config: Config, data: Path) -> str:
    """Draw or make the samples and ask the teacher's decision on each; seal the answers."""
    import numpy as np

    from db3.digest import digest_arrays
    from db3.files import write_array, write_json
    from db3.search.starts import check_classes
    from db3.teachers.folder import read_card
    from flows.costs import write_costs
    from flows.deciding import decide
    from flows.engine.teacher_work import Asking
    from flows.made import made

    card, asking = read_card(data / "teacher"), Asking(config, data, "samples")
    real = config.samples.method == "real"
    check_budget(config)
    arrays, further = (_real if real else made)(config, asking, card)
    images, decisions = arrays["images"], arrays["decisions"]
    rows = _rechecked(len(images), config.samples.recheck)
    flips = _flips(asking, decisions[rows], decide("recheck", images[rows], asking))
    allowed, more = config.samples.missing_classes == "allow", "samples.count" if real else "samples.budget"
    check_classes(decisions, card["class_names"], allowed, more=more)

    folder = data / "samples"
    for name, array in arrays.items():
        write_array(folder / f"{name}.npy", array)
    asking.seal(folder / "journal")
    decided = np.bincount(decisions, minlength=card["classes"]).tolist()
    manifest = {
        "method": config.samples.method,
        "count": len(images),
        "decided": dict(zip(card["class_names"], decided, strict=True)),
        **further,
        "queries": {name: asking.costs[name] for name in ("asked", "votes")},
        "flips": flips,
        "teacher": card["identity"],
        "digest": digest_arrays({"images": images, "decisions": decisions}),
    }
    write_json(folder / "manifest.json", manifest)
    costs = write_costs(data, "samples", manifest["digest"], asking)
    missing = [name for name, count in manifest["decided"].items() if not count]
    never = f"; never decided: {', '.join(missing)}" if missing else ""
    return f"{len(images):,} samples, {asking.costs['asked']:,} queries asked{costs}{never}"


def _real(config: Config, asking: "Asking", card: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Images of the training split, as they are."""
    from flows.deciding import decide
    from flows.inputs import drawn_images

    images, index = drawn_images(config, card)
    return {"images": images, "decisions": decide("samples", images, asking), "index": index}, {}


def check_budget(config: Config) -> None:
    """Refuse a budget that is too small for the samples before anything is sent."""
    group, total = config.samples, config.budget.total
    count, name = (group.count, "samples.count") if group.method == "real" else (group.budget, "samples.budget")
    if total is None or count is None:
        return
    rechecked = min(group.recheck, count)
    if count + rechecked > total:
        raise ConfigError(
            f"budget.total is {total}, but the decisions on {count} samples ({rechecked} of them asked twice) cost as "
            f"many queries at least: raise it, or lower {name}"
        )


def _rechecked(count: int, recheck: int) -> "npt.NDArray[np.int64]":
    """Which samples are asked a second time: some, spread evenly over all."""
    import numpy as np

    return np.unique(np.linspace(0, count - 1, min(recheck, count)).round().astype(np.int64))


def _flips(asking: "Asking", first: "npt.NDArray[np.int64]", second: "npt.NDArray[np.int64]") -> dict[str, Any]:
    """How often the teacher decides otherwise when asked again: the samples rechecked, and its votes."""
    from flows.inputs import flips_of

    costs = asking.costs
    return flips_of(costs["compared"] + len(first), costs["changed"] + int((first != second).sum()))


if __name__ == "__main__":
    samples.cli()
