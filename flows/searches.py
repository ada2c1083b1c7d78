"""The boundary searches of query_decisions: shards that stand apart, or shards that teach surrogates in phases."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.config import Config
from flows.engine.shards import Shards
from flows.engine.teacher_work import Asking

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from db3.search import Distances
    from db3.settings.search import Method
    from flows.engine.store import Arrays

_CODE = ("search", "teachers", "networks", "arithmetic", "rng", "types")
_FIELDS = (
    *("distances", "asked", "at", "points", "point_pairs"),
    *("queried_images", "queried_decisions", "queried_keys", "unfinished"),
)


class Found:
    """What the searches found, shard by shard; each shard is read anew whenever it is looked at.

    Attributes:
        synthetic: answers to the images that surrogates made before the search began.
    """

    def __init__(
        self, count: int, read: "Callable[[int], Distances]", synthetic_answers: "npt.NDArray[np.int64]"
    ) -> None:
        self._count, self._read, self.synthetic_answers = count, read, synthetic_answers

    def __iter__(self) -> "Iterator[Distances]":
        return (self._read(index) for index in range(self._count))


def search(config: Config, data: Path, asking: Asking) -> Found:
    """Search every sample's boundary distances by the configured method."""
    from db3.search.method import WITH_SURROGATES, resolve_method
    from flows.inputs import manifest_of

    count, size = manifest_of(data, "samples")["count"], config.runtime.shard
    method = resolve_method(config.query, config.samples.method)
    parts = [range(start, min(start + size, count)) for start in range(0, count, size)]
    return (_with_surrogates if method.method in WITH_SURROGATES else _apart)(config, data, asking, parts, method)


def _decided_by(data: Path) -> list[Any]:
    from db3.digest import digest_code
    from flows.inputs import manifest_of

    manifest = manifest_of(data, "samples")
    return [manifest["teacher"], manifest["digest"], digest_code(*_CODE)]


def _apart(config: Config, data: Path, asking: Asking, parts: list[range], method: "Method") -> Found:
    import numpy as np

    from db3.digest import digest_json
    from db3.search import Distances, search_distances
    from flows.config import device_of
    from flows.inputs import manifest_of, transfer_images

    pool, device = transfer_images(data), device_of(config)
    decided_by = [asdict(method), *_decided_by(data)]
    keys = [digest_json(["distances", part.start, part.stop, *decided_by]) for part in parts]
    classes = len(manifest_of(data, "samples")["decided"])
    budget = 0 if method.method in ("none", "sd") else method.budget
    maximum = [len(part) * (classes - 1) * budget for part in parts]

    def compute(index: int) -> "Arrays":
        found = search_distances(asking.teacher(), pool, parts[index], method, device=device)
        return {name: getattr(found, name) for name in _FIELDS}

    shards = asking.map("search", keys, compute, maximum)

    def read(index: int) -> "Distances":
        arrays = shards[index]
        return Distances(**{name: arrays[name] for name in _FIELDS}, answers=np.empty(0, np.int64))

    return Found(len(parts), read, np.empty(0, np.int64))


def _with_surrogates(config: Config, data: Path, asking: Asking, parts: list[range], method: "Method") -> Found:
    from db3.digest import digest_json
    from db3.search.driver import drive
    from db3.search.methods.auto import IN_FLIGHT, SurrogateSearch
    from db3.search.surrogate.surrogate import surrogates_of
    from flows.config import device_of
    from flows.inputs import transfer_images

    pool, spec = transfer_images(data), asking.spec
    synthetic_queries = round(config.query.surrogate.synthetic_queries * len(pool.decisions))
    # Surrogates are trained here: their bits follow the number of threads, as a student's do.
    device = device_of(config)
    base = digest_json([*_decided_by(data), device, config.runtime.threads])
    surrogate_search = SurrogateSearch(
        lambda _, searches: drive(searches, asking.teacher(), IN_FLIGHT),
        spec,
        pool,
        parts,
        method,
        surrogates_of(config.query),
        synthetic_queries,
        base,
        device,
        1 if config.runtime.runner == "local" else config.runtime.workers,
    )

    def run(unit: Any) -> Shards:
        return asking.map(unit.name, unit.keys, unit.compute, unit.maximum, follows=True)

    found = surrogate_search.distances(run)
    return Found(len(parts), found.__getitem__, found.synthetic_answers)
