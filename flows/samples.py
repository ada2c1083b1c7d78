"""Stage samples: the images of the transfer set, and the teacher's decision on each."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from db3.config import Config
from db3.errors import ConfigError
from flows.stage import stage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from flows.asking import Asking


_CODE = ("teachers", "networks")
_SHARD = 16384  # samples decided in one shard


@stage("samples")
def samples(config: Config, data: Path) -> str:
    """Draw samples from the training part and ask the teacher's decision on each: one query a sample."""
    import numpy as np

    from db3.decisions.starts import check_classes
    from db3.digest import digest_arrays
    from db3.files import write_array, write_json
    from db3.samples.real import draw_samples
    from db3.teachers.local import read_card
    from flows.asking import Asking
    from flows.costs import write_costs
    from flows.inputs import dataset_of

    card = read_card(data / "teacher")
    dataset = dataset_of(config, card)
    index = draw_samples(len(dataset.train_index), config.samples.count, config.samples.seed)
    rows = _rechecked(len(index), config.samples.recheck)
    _check_budget(config, len(index), len(rows))
    images = dataset.source.read(dataset.train_index[index]).images
    asking = Asking(config, data, "samples")
    decisions = decide("samples", images, asking)
    flips = _flips(asking, decisions[rows], decide("recheck", images[rows], asking))
    check_classes(decisions, card["class_names"], config.samples.missing_classes == "allow")

    folder, arrays = data / "samples", {"images": images, "decisions": decisions}
    for name, array in {**arrays, "index": index}.items():
        write_array(folder / f"{name}.npy", array)
    asking.seal(folder / "journal")
    decided = np.bincount(decisions, minlength=card["classes"]).tolist()
    manifest = {
        "method": config.samples.method,
        "count": len(images),
        "decided": dict(zip(card["class_names"], decided, strict=True)),
        "queries": {name: asking.costs[name] for name in ("asked", "paid")},
        "flips": flips,
        "teacher": card["identity"],
        "digest": digest_arrays(arrays),
    }
    write_json(folder / "manifest.json", manifest)
    costs = write_costs(data, "samples", manifest["digest"], asking)
    return f"{len(images):,} samples, {asking.costs['asked']:,} queries asked{costs}"


def decide(work: str, images: "npt.NDArray[np.uint8]", asking: "Asking") -> "npt.NDArray[np.int64]":
    """The teacher's decision on every image, shard by shard."""
    import numpy as np

    from db3.digest import digest_array, digest_code, digest_json
    from db3.errors import BudgetSpent
    from db3.evaluation.decide import decide_all

    parts = [images[start : start + _SHARD] for start in range(0, len(images), _SHARD)]
    code = digest_code(*_CODE)
    keys = [digest_json([work, asking.spec.identity, digest_array(part), code]) for part in parts]

    def compute(index: int) -> dict[str, Any]:
        try:
            return {"decisions": decide_all(asking.teacher(), parts[index], 1)}
        except BudgetSpent as error:  # a sample without its decision is of no use
            raise ConfigError(f"budget.total does not pay for the {work}: {error}") from error

    shards = asking.map(work, keys, compute, [len(part) for part in parts])
    return np.concatenate([np.empty(0, np.int64), *(shard["decisions"] for shard in shards)])


def _check_budget(config: Config, count: int, rechecked: int) -> None:
    """Refuse a budget that is too small before anything is paid."""
    total = config.budget.total
    if total is not None and count + rechecked > total:
        raise ConfigError(
            f"budget.total is {total}, but the decisions on {count} samples ({rechecked} of them asked twice) cost as "
            "many queries at least: raise it, or lower samples.count"
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
