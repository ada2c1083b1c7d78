"""Stage query_decisions: search the distance from each sample to the boundary of each other class."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db3.config import Config
from flows.shards import Shards, map_shards
from flows.stage import stage

if TYPE_CHECKING:
    from db3.teachers.meter import Meter

_CODE = ("decisions", "teachers", "networks", "exact", "rng")
_AUGMENTED_SHARD = 16384  # images of the augmented baseline decided in one shard


@stage("query_decisions")
def query_decisions(config: Config, data: Path) -> str:
    """Search boundary distances shard by shard; ask the augmented baseline's images; seal the answers."""
    import numpy as np

    distances = _distances(config, data)
    boundary = int(sum(int(shard["asked"].sum()) for shard in distances))
    count = boundary if config.query.augmented == "same" else config.query.augmented
    augmented = _augmented(config, data, count)
    merged = {
        "distances": np.concatenate([shard["distances"] for shard in distances]),
        "asked": np.concatenate([shard["asked"] for shard in distances]),
        "distances_at": np.concatenate([shard["at"] for shard in distances], axis=1),
    }
    if count:
        merged["augmented"] = np.concatenate([shard["decisions"] for shard in augmented])
    _write(config, data, merged, distances, boundary)
    reused = distances.reused + augmented.reused
    kept = f", {reused} of {len(distances) + len(augmented)} shards were already computed" if reused else ""
    return f"{len(merged['asked']):,} samples, {boundary:,} queries asked, {count:,} for the augmented baseline{kept}"


def _distances(config: Config, data: Path) -> Shards:
    from db3.decisions import search_distances
    from db3.digest import digest_code, digest_json
    from flows.inputs import manifest_of, method_of, transfer_images

    pool, method, manifest = transfer_images(data), method_of(config), manifest_of(data, "samples")
    size, count = config.query.shard, len(pool.decisions)
    rows = [range(start, min(start + size, count)) for start in range(0, count, size)]
    decided_by = [asdict(method), manifest["teacher"], manifest["digest"], digest_code(*_CODE)]
    keys = [digest_json(["distances", part.start, part.stop, *decided_by]) for part in rows]
    classes = len(manifest["decided"])
    most = [len(part) * (classes - 1) * method.budget for part in rows]
    teachers = _Teachers(config, data)

    def compute(index: int) -> dict[str, Any]:
        found = search_distances(teachers.mine(), pool, rows[index], method)
        # uint16 holds any class of the datasets known; the journal is one answer per query, so its width counts.
        answers = found.answers.astype("uint8" if classes <= 256 else "uint16")
        return {"distances": found.distances, "asked": found.asked, "at": found.at, "answers": answers}

    return map_shards("query_decisions", keys, compute, config.runtime, most, "query")


def _augmented(config: Config, data: Path, count: int) -> Shards:
    """Decisions on the augmented baseline's images, which are never stored: they follow from samples and seed."""
    from db3.digest import digest_code, digest_json
    from db3.evaluation.decide import decide_all
    from db3.samples.augment import augmented_images
    from flows.inputs import manifest_of, transfer_images

    pool, manifest = transfer_images(data), manifest_of(data, "samples")
    parts = [range(start, min(start + _AUGMENTED_SHARD, count)) for start in range(0, count, _AUGMENTED_SHARD)]
    decided_by = [config.query.seed, manifest["teacher"], manifest["digest"], digest_code(*_CODE, "samples")]
    keys = [digest_json(["augmented", part.start, part.stop, *decided_by]) for part in parts]
    teachers = _Teachers(config, data)

    def compute(index: int) -> dict[str, Any]:
        images = augmented_images(pool.images, parts[index], config.query.seed)
        return {"decisions": decide_all(teachers.mine(), images, 1)}

    return map_shards("augmented", keys, compute, config.runtime, [len(part) for part in parts], "query")


class _Teachers:
    """One teacher per thread, opened when a shard first needs it: `decide` is called from one thread at a time."""

    def __init__(self, config: Config, data: Path) -> None:
        import threading

        from flows.inputs import device_of

        self._local, self._folder, self._device = threading.local(), data / "teacher", device_of(config)

    def mine(self) -> "Meter":
        from db3.teachers.local import open_teacher

        if not hasattr(self._local, "teacher"):
            self._local.teacher = open_teacher(self._folder, self._device)
        teacher: Meter = self._local.teacher
        return teacher


def _write(config: Config, data: Path, merged: dict[str, Any], shards: Shards, boundary: int) -> None:
    import numpy as np

    from db3.digest import digest_arrays
    from db3.files import write_array, write_json
    from flows.inputs import manifest_of

    folder, samples = data / "decisions", manifest_of(data, "samples")
    for name, array in merged.items():
        write_array(folder / f"{name}.npy", array)
    for number, shard in enumerate(shards):
        write_array(folder / "journal" / f"{number:05d}.npy", shard["answers"])
    count, classes = merged["distances"].shape
    write_json(
        folder / "manifest.json",
        {
            "method": config.query.method,
            "budget": config.query.budget,
            "checkpoints": list(config.query.checkpoints),
            "queries": {
                "asked": boundary,
                "per_sample": round(boundary / count, 6),
                "per_pair": round(boundary / (count * (classes - 1)), 6),
                "augmented": len(merged.get("augmented", ())),
            },
            "unreached": int(np.isinf(merged["distances"]).sum()),
            "shard": config.query.shard,
            "seed": config.query.seed,
            "teacher": samples["teacher"],
            "samples": samples["digest"],
            "digest": digest_arrays({name: merged[name] for name in ("distances", "asked", "distances_at")}),
        },
    )


if __name__ == "__main__":
    query_decisions.cli()
