"""Samples that are made: from priors or a few images, chosen round by round, or pseudo samples from noise (ZSDB3)."""

from typing import TYPE_CHECKING, Any

from db3.errors import ConfigError
from flows.config import Config

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from db3.zero_shot.start_images import Starts
    from db3.zero_shot.zsdb3 import Zsdb3
    from flows.engine.teacher_work import Asking

_CODE = ("teachers", "networks", "images", "zero_shot", "training", "arithmetic", "rng", "search")
_ROWS = 100  # pseudo samples that are moved in one piece
_GATHERED = ("images", "decisions", "rounds", "sources")
_MOVED = ("images", "margins", "searched", "moved", "snapshots")

Made = tuple[dict[str, Any], dict[str, Any]]
"""The arrays to write, and what the manifest says of them."""


def made(config: Config, asking: "Asking", card: dict[str, Any] | None = None) -> Made:
    """Make the samples as the group `samples` says, every answer in the journal.

    Args:
        config: all parameters.
        asking: how the teacher is asked.
        card: the teacher's, to check the dataset against.

    Raises:
        ConfigError: budget.total ends before there is a sample of every kind.
    """
    from db3.errors import BudgetSpent

    try:
        return _pseudo(config, asking) if config.samples.method == "zsdb3" else _rounds(config, asking, card)
    except BudgetSpent as error:
        raise ConfigError(f"budget.total does not pay for the samples: {error}") from error


def _key(config: Config, asking: "Asking", *decided_by: Any) -> str:
    """Digest of all that decides a piece; surrogates' bits follow the device and the threads, as a student's do."""
    from db3.digest import digest_code, digest_json
    from flows.config import device_of

    machine = [device_of(config), config.runtime.threads]
    return digest_json(["made", asking.spec.identity, config.samples.seed, *decided_by, *machine, digest_code(*_CODE)])


def _rounds(config: Config, asking: "Asking", card: dict[str, Any] | None) -> Made:
    """Images chosen round by round; `augmented` begins with images of the training split."""
    from dataclasses import asdict

    import numpy as np

    from db3.digest import digest_array
    from db3.teachers.decide import decide_all
    from db3.zero_shot.rounds import SOURCES, RoundSettings, gather
    from flows.inputs import drawn_images

    spec, budget = asking.spec, config.samples.budget or 0
    real, index = drawn_images(config, card) if config.samples.method == "augmented" else (None, None)
    settings = RoundSettings(**vars(config.samples.rounds))
    key = _key(config, asking, None if real is None else digest_array(real), budget, asdict(settings))

    def decide(images: "npt.NDArray[np.uint8]") -> "npt.NDArray[np.int64]":
        return decide_all(asking.teacher(), images, spec.max_batch)

    def compute(_: int) -> dict[str, Any]:
        found = gather(decide, spec.input_shape, spec.classes, budget, settings, seed=config.samples.seed, real=real)
        return {**{name: getattr(found, name) for name in _GATHERED}, "proposed": np.array(found.proposed)}

    (found,) = asking.map("made", [key], compute, [budget])
    sources = {name: int((found["sources"] == number).sum()) for number, name in enumerate(SOURCES)}
    arrays = {name: found[name] for name in _GATHERED} | ({} if index is None else {"index": index})
    return arrays, {"sources": sources, "proposed": int(found["proposed"])}


def _pseudo(config: Config, asking: "Asking") -> Made:
    """Start images of every class, and their moves away from the boundary, some at a time."""
    from dataclasses import asdict

    from db3.zero_shot.moves import Moved
    from db3.zero_shot.start_images import check_starts
    from db3.zero_shot.zsdb3 import move, pseudo_samples, zsdb3_of
    from flows.config import device_of

    settings = zsdb3_of(config.samples)
    decided_by = asdict(settings)
    starts = _starts(config, asking, settings, _key(config, asking, "starts", decided_by))
    check_starts(starts, settings.missing)
    parts = [range(at, min(at + _ROWS, len(starts.images))) for at in range(0, len(starts.images), _ROWS)]
    each = (settings.budget - sum(starts.queries.values())) // len(starts.images)

    def compute(index: int) -> dict[str, Any]:
        moved = move(asking.teacher(), starts, parts[index], settings, device_of(config))
        return {name: getattr(moved, name) for name in _MOVED}

    keys = [_key(config, asking, "moves", decided_by, part.start, part.stop) for part in parts]
    moved = asking.map("moves", keys, compute, [each * len(part) for part in parts])
    found = pseudo_samples(starts, [Moved(**{name: arrays[name] for name in _MOVED}) for arrays in moved], settings)
    arrays = {name: getattr(found, name) for name in ("images", "decisions", "margins", "snapshots", "pictured")}
    snapshots = [
        {"iterations": iterations, "queries": queries}
        for iterations, queries in zip(found.snapshot_iterations, found.snapshot_queries, strict=True)
    ]
    return arrays, {"purposes": found.queries, "snapshots": snapshots, "tried": found.tried}


def _starts(config: Config, asking: "Asking", settings: "Zsdb3", key: str) -> "Starts":
    """Noise, and prior images for the classes that noise does not reach."""
    from db3.images.priors import prior_images
    from db3.zero_shot.start_images import Starts, find_starts

    spec = asking.spec
    limits = settings.limits(fallback=config.samples.zsdb3.priors)
    source = (
        (lambda numbers: prior_images(spec.input_shape, numbers, config.samples.seed)) if "source" in limits else None
    )

    def compute(_: int) -> dict[str, Any]:
        found = find_starts(asking.teacher(), settings.count, limits, settings.seed, source)
        answers = {f"answers.{origin}": counts for origin, counts in found.answers.items()}
        return {"images": found.images, "decisions": found.decisions, "wanted": found.wanted, **answers}

    (arrays,) = asking.map("starts", [key], compute, [sum(limits.values())])
    answers = {name.removeprefix("answers."): array for name, array in arrays.items() if name.startswith("answers.")}
    return Starts(arrays["images"], arrays["decisions"], answers, arrays["wanted"])
