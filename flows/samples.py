"""Stage samples: the images of the transfer set, real or made, and the teacher's decision on each."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from db3.config import Config
from db3.errors import ConfigError
from flows.stage import stage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from flows.asking import Asking

_Arrays = dict[str, Any]

_CODE = ("teachers", "networks")
_MADE_CODE = (*_CODE, "samples", "students", "exact", "rng", "decisions")
_SHARD = 16384  # samples decided in one shard
_MADE = ("images", "decisions", "rounds", "sources")


@stage("samples")
def samples(config: Config, data: Path) -> str:
    """Draw or make the samples and ask the teacher's decision on each; seal the answers."""
    import numpy as np

    from db3.decisions.starts import check_classes
    from db3.digest import digest_arrays
    from db3.files import write_array, write_json
    from db3.teachers.local import read_card
    from flows.asking import Asking, write_costs

    card, asking = read_card(data / "teacher"), Asking(config, data, "samples")
    arrays, further = (_real if config.samples.method == "real" else _made)(config, card, asking)
    images, decisions = arrays["images"], arrays["decisions"]
    rows = _rechecked(len(images), config.samples.recheck)
    flips = _flips(asking, decisions[rows], decide("recheck", images[rows], asking))
    check_classes(decisions, card["class_names"], config.samples.missing_classes == "allow")

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
        "queries": {name: asking.costs[name] for name in ("asked", "paid")},
        "flips": flips,
        "teacher": card["identity"],
        "digest": digest_arrays({"images": images, "decisions": decisions}),
    }
    write_json(folder / "manifest.json", manifest)
    costs = write_costs(data, "samples", manifest["digest"], asking)
    missing = [name for name, count in manifest["decided"].items() if not count]
    never = f"; never decided: {', '.join(missing)}" if missing else ""
    return f"{len(images):,} samples, {asking.costs['asked']:,} queries asked{costs}{never}"


def _real(config: Config, card: dict[str, Any], asking: "Asking") -> tuple[_Arrays, dict[str, Any]]:
    """Images of the training split, as they are."""
    images, index = _drawn(config, card)
    _check_budget(config, len(index), "samples.count")
    return {"images": images, "decisions": decide("samples", images, asking), "index": index}, {}


def _made(config: Config, card: dict[str, Any], asking: "Asking") -> tuple[_Arrays, dict[str, Any]]:
    """Images made and chosen round by round; `augmented` begins with images of the training split."""
    from dataclasses import asdict

    from db3.digest import digest_array, digest_code, digest_json
    from db3.samples.rounds import SOURCES
    from flows.inputs import device_of, rounds_of

    group, budget = config.samples, config.samples.budget or 0
    _check_budget(config, budget, "samples.budget")
    real, index = _drawn(config, card) if group.method == "augmented" else (None, None)
    settings = rounds_of(config, asking.spec.input_shape)
    # Primers are trained here: their bits follow the device and the number of threads, as a student's do.
    decided_by = [asking.spec.identity, budget, asdict(settings), group.seed, digest_code(*_MADE_CODE)]
    machine = [device_of(config), config.runtime.threads]
    key = digest_json(["made", None if real is None else digest_array(real), *decided_by, *machine])

    def compute(_: int) -> _Arrays:
        return _gathered(config, asking, real)

    (found,) = asking.map("made", [key], compute, [budget])
    sources = {name: int((found["sources"] == number).sum()) for number, name in enumerate(SOURCES)}
    arrays = {name: found[name] for name in _MADE} | ({} if index is None else {"index": index})
    return arrays, {"sources": sources, "proposed": int(found["proposed"])}


def _gathered(config: Config, asking: "Asking", real: "npt.NDArray[np.uint8] | None") -> _Arrays:
    import numpy as np

    from db3.errors import BudgetSpent
    from db3.evaluation.decide import decide_all
    from db3.samples.rounds import gather
    from flows.inputs import rounds_of

    spec, group = asking.spec, config.samples
    try:
        found = gather(
            lambda images: decide_all(asking.teacher(), images, spec.max_batch),
            spec.input_shape,
            spec.classes,
            group.budget or 0,
            rounds_of(config, spec.input_shape),
            seed=group.seed,
            real=real,
        )
    except BudgetSpent as error:
        raise _too_small(error, "samples") from error
    return {**{name: getattr(found, name) for name in _MADE}, "proposed": np.array(found.proposed)}


def _drawn(config: Config, card: dict[str, Any]) -> tuple[Any, Any]:
    """Images of the training split, and their places in it."""
    from db3.samples.real import draw_samples
    from flows.inputs import dataset_of

    dataset = dataset_of(config, card)
    index = draw_samples(len(dataset.train_index), config.samples.count, config.samples.seed)
    return dataset.source.read(dataset.train_index[index]).images, index


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
            raise _too_small(error, work) from error

    shards = asking.map(work, keys, compute, [len(part) for part in parts])
    return np.concatenate([np.empty(0, np.int64), *(shard["decisions"] for shard in shards)])


def _too_small(error: Exception, work: str) -> ConfigError:
    return ConfigError(f"budget.total does not pay for the {work}: {error}")


def _check_budget(config: Config, count: int, parameter: str) -> None:
    """Refuse a budget that is too small before anything is paid."""
    total, rechecked = config.budget.total, min(config.samples.recheck, count)
    if total is not None and count + rechecked > total:
        raise ConfigError(
            f"budget.total is {total}, but the decisions on {count} samples ({rechecked} of them asked twice) cost as "
            f"many queries at least: raise it, or lower {parameter}"
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
