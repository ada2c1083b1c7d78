"""Stage samples: the images of the transfer set, real or made, and the teacher's decision on each."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from db3.digest import digest_arrays
from db3.errors import BudgetSpent, ConfigError, listed
from db3.files import write_array
from db3.images.priors import prior_images
from db3.search.starts import check_classes
from db3.teachers.decide import decide_images, recheck
from db3.teachers.fetch import clear_of, own_classes
from db3.teachers.folder import read_card
from db3.work import Arrays
from db3.zero_shot.rounds import SOURCES, RoundSettings, gather
from db3.zero_shot.zsdb3 import zsdb3, zsdb3_of
from flows.config import Config, device_of
from flows.costs import write_costs
from flows.engine.stage import stage
from flows.engine.teacher_work import Asking
from flows.inputs import drawn_images, flips_of
from flows.manifests import EDITION, FlipRate, SampleQueries, SamplesManifest, Snapshot, write_manifest

DRAWN = ("real", "augmented")  # methods that begin with images of the training split
Drawn = tuple[Any, Any]

_ROWS = 100  # pseudo samples that are moved in one piece of work


@stage("samples")
def samples(config: Config, data: Path) -> str:
    """Draw or make the samples and ask the teacher's decision on each; seal the answers."""
    card, asking = read_card(data / "teacher"), Asking(config, data, "samples")
    check_budget(config)
    drawn = drawn_images(config, card["dataset"]["digest"]) if config.samples.method in DRAWN else None
    manifest = take_samples(config, data, asking, card["class_names"], drawn, card.get("unclear"))
    costs = write_costs(data, "samples", manifest.digest, asking, config.runtime.price)
    missing = [name for name, count in manifest.decided.items() if not count]
    never = f"; never decided: {listed(missing)}" if missing else ""
    never += f"; {manifest.skipped:,} images left out, which the teacher gave no class" if manifest.skipped else ""
    return f"{manifest.count:,} samples, {asking.costs['asked']:,} queries asked{costs}{never}"


def take_samples(
    config: Config,
    data: Path,
    asking: Asking,
    class_names: Sequence[str],
    drawn: Drawn | None,
    unclear: str | None,
) -> SamplesManifest:
    """Write data/samples, whoever answers; its manifest.

    Args:
        config: all parameters.
        data: the folder.
        asking: how the teacher is asked.
        class_names: of classes 0, 1, …
        drawn: images of the training split and their places in it, where the method is one of DRAWN.
        unclear: policy for answers that are no single class; `skip` leaves those images out.

    Raises:
        ConfigError: budget.total ends before there is a sample of every kind.
        DataError: a class was never decided, and samples.missing_classes does not allow that.
    """
    if unclear == "skip" and config.samples.method == "zsdb3":
        raise ConfigError("teacher.unclear is skip, but zsdb3 moves all its samples together: set it to reject")
    taken = _take(config, asking, drawn)
    if unclear == "skip":
        taken = _without_rejected(taken, len(class_names) - 1, config.samples.method)
    flips = _flips(config, asking, taken.arrays)
    more = "samples.count" if config.samples.method == "real" else "samples.budget"
    allowed = config.samples.missing_classes == "allow"
    decisions, own = taken.arrays["decisions"], own_classes(class_names, unclear)
    check_classes(decisions[decisions < len(own)], own, allowed, more=more)
    _write(data / "samples", taken.arrays, asking)
    manifest = _manifest(config, class_names, asking, taken, flips)
    write_manifest(data / "samples" / "manifest.json", manifest)
    return manifest


@dataclass(frozen=True)
class Taken:
    """Samples as the stage writes them.

    Attributes:
        arrays: by the name of their file: `images` uint8 [n, C, H, W], `decisions` int64 [n] and what else there is.
        facts: fields of the manifest that samples taken so have.
    """

    arrays: Arrays
    facts: dict[str, Any]


def _take(config: Config, asking: Asking, drawn: Drawn | None) -> Taken:
    """Draw or make the samples as the group `samples` says, every answer in the journal."""
    with _paid_in_full("samples"):
        if config.samples.method == "real" and drawn:
            return _real(asking, *drawn)
        return _pseudo(config, asking) if config.samples.method == "zsdb3" else _rounds(config, asking, drawn)


def _without_rejected(taken: Taken, rejected: int, method: str) -> Taken:
    """The samples that the teacher gave a class; how many it did not is told."""
    clear = clear_of(taken.arrays["decisions"], rejected)
    whole = () if method == "real" else ("index",)  # otherwise of what the rounds began with
    arrays = {name: array if name in whole else array[clear] for name, array in taken.arrays.items()}
    return Taken(arrays, {**taken.facts, "skipped": int((~clear).sum())})


def _real(asking: Asking, images: Any, index: Any) -> Taken:
    """Images of the training split, as they are."""
    return Taken({"images": images, "decisions": decide_images(asking, images, run=asking.run), "index": index}, {})


def _rounds(config: Config, asking: Asking, drawn: Drawn | None) -> Taken:
    """Images chosen round by round; `augmented` begins with images of the training split."""
    group = config.samples
    real, index = drawn or (None, None)
    settings = RoundSettings(**vars(group.rounds))
    found = gather(asking, group.budget or 0, settings, seed=group.seed, real=real, run=asking.run)
    arrays = {name: getattr(found, name) for name in ("images", "decisions", "rounds", "sources")}
    sources = {name: int((found.sources == number).sum()) for number, name in enumerate(SOURCES)}
    facts = {
        **{"sources": sources, "proposed": found.proposed, "arithmetic": group.rounds.arithmetic},
        "foretold": found.foretold[-1] if found.foretold else None,
    }
    return Taken(arrays | ({} if index is None else {"index": index}), facts)


def _pseudo(config: Config, asking: Asking) -> Taken:
    """Pseudo samples of noise, and of prior images for the classes that noise does not reach."""
    group = config.samples

    def priors(numbers: Sequence[int]) -> Any:
        return prior_images(asking.spec.input_shape, numbers, group.seed)

    source = priors if group.zsdb3.priors else None
    found = zsdb3(asking, zsdb3_of(group), source, device=device_of(config), rows=_ROWS, run=asking.run)
    names = ("images", "decisions", "margins", "snapshots", "pictured")
    states = zip(found.snapshot_iterations, found.snapshot_queries, strict=True)
    facts = {"purposes": found.queries, "snapshots": tuple(Snapshot(*state) for state in states), "tried": found.tried}
    return Taken({name: getattr(found, name) for name in names}, facts)


def _flips(config: Config, asking: Asking, arrays: Arrays) -> FlipRate:
    """How often the teacher decides otherwise when asked again: the samples rechecked, and its votes."""
    images, decisions, count = arrays["images"], arrays["decisions"], config.samples.recheck
    with _paid_in_full("recheck"):
        compared, changed = recheck(asking, images, decisions, count, asking.run)
    return flips_of(asking.costs["compared"] + compared, asking.costs["changed"] + changed)


@contextmanager
def _paid_in_full(what: str) -> Iterator[None]:
    try:
        yield
    except BudgetSpent as error:  # a part of these is of no use
        raise ConfigError(f"budget.total does not pay for the {what}: {error}") from error


def _write(folder: Path, arrays: Arrays, asking: Asking) -> None:
    for name, array in arrays.items():
        write_array(folder / f"{name}.npy", array)
    asking.seal(folder / "journal")


def _manifest(
    config: Config, class_names: Sequence[str], asking: Asking, taken: Taken, flips: FlipRate
) -> SamplesManifest:
    images, decisions = taken.arrays["images"], taken.arrays["decisions"]
    decided = np.bincount(decisions, minlength=len(class_names)).tolist()
    return SamplesManifest(
        method=config.samples.method,
        count=len(images),
        class_names=tuple(class_names),
        decided=dict(zip(class_names, decided, strict=True)),
        queries=SampleQueries(asking.costs["asked"], asking.costs["votes"]),
        flips=flips,
        teacher=asking.spec.identity,
        digest=digest_arrays({"images": images, "decisions": decisions}),
        edition=EDITION,
        **taken.facts,
    )


def check_budget(config: Config) -> None:
    """Refuse a budget that is too small for the samples before anything is paid."""
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


if __name__ == "__main__":
    samples.cli()
