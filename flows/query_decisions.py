"""Stage query_decisions: search the distance from each sample to the boundary of each other class."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from db3.config import Config
from flows.stage import stage

if TYPE_CHECKING:
    from flows.searches import Asking, Found
    from flows.shards import Shards

_AUGMENTED_CODE = ("decisions", "teachers", "networks", "exact", "rng", "samples")
_MERGED = ("distances", "asked", "at", "point_pairs", "answered_decisions", "answered_keys")
_IMAGES = ("points", "answered")
_AUGMENTED_SHARD = 16384  # images of the augmented baseline decided in one shard


@stage("query_decisions")
def query_decisions(config: Config, data: Path) -> str:
    """Search boundary distances shard by shard; ask the augmented baseline's images; seal the answers."""
    from flows.inputs import flips_of
    from flows.searches import Asking, search

    asking = Asking(config, data)
    found = search(config, data, asking)
    arrays = _written(data, found)
    boundary = int(arrays["asked"].sum()) + len(found.scouted)
    paid = int(asking.votes[0]) or boundary
    count = boundary if config.query.augmented == "same" else config.query.augmented
    arrays |= _augmented(config, data, asking, count)
    queries = {"asked": boundary, "paid": paid, "scouts": len(found.scouted), "augmented": count}
    flips = flips_of(int(asking.votes[1]), int(asking.votes[2]))
    _write(config, data, arrays, queries, flips)
    kept = f", {asking.reused} of {asking.shards} shards were already computed" if asking.reused else ""
    return f"{len(arrays['asked']):,} samples, {boundary:,} queries asked, {count:,} for the augmented baseline{kept}"


def _written(data: Path, found: "Found") -> dict[str, Any]:
    """Write every shard's images and answers, each shard read once; all shards' small arrays, merged."""
    from contextlib import ExitStack

    import numpy as np

    from db3.files import growing_array, write_array
    from flows.inputs import manifest_of, transfer_images
    from flows.searches import narrow

    folder, image = data / "decisions", transfer_images(data).images.shape[1:]
    classes = len(manifest_of(data, "samples")["decided"])
    parts = []
    with ExitStack() as stack:
        images = {name: stack.enter_context(growing_array(folder / f"{name}.npy", image, np.uint8)) for name in _IMAGES}
        for number, shard in enumerate(found):
            parts.append({name: getattr(shard, name) for name in _MERGED})
            for name, append in images.items():
                append(getattr(shard, name))
            write_array(folder / "journal" / f"{number:05d}.npy", narrow(shard.answers, classes))
    if len(found.scouted):
        write_array(folder / "journal" / "scouts.npy", narrow(found.scouted, classes))
    merged = {name: np.concatenate([part[name] for part in parts], axis=1 if name == "at" else 0) for name in _MERGED}
    merged["distances_at"] = merged.pop("at")
    return merged


def _augmented(config: Config, data: Path, asking: "Asking", count: int) -> dict[str, Any]:
    """Decisions on the augmented baseline's images, which are never stored: they follow from samples and seed."""
    import numpy as np

    from db3.digest import digest_code, digest_json
    from db3.evaluation.decide import decide_all
    from db3.samples.augment import augmented_images
    from flows.inputs import manifest_of, transfer_images

    pool, manifest = transfer_images(data), manifest_of(data, "samples")
    parts = [range(start, min(start + _AUGMENTED_SHARD, count)) for start in range(0, count, _AUGMENTED_SHARD)]
    decided_by = [config.query.seed, manifest["teacher"], manifest["digest"], digest_code(*_AUGMENTED_CODE)]
    keys = [digest_json(["augmented", part.start, part.stop, *decided_by]) for part in parts]

    def compute(index: int) -> dict[str, Any]:
        images = augmented_images(pool.images, parts[index], config.query.seed)
        return {"decisions": decide_all(asking.teacher(), images, 1)}

    shards: Shards = asking.map("augmented", keys, compute, [len(part) for part in parts])
    return {"augmented": np.concatenate([shard["decisions"] for shard in shards])} if count else {}


def _write(config: Config, data: Path, arrays: dict[str, Any], queries: dict[str, int], flips: dict[str, Any]) -> None:
    import numpy as np

    from db3.digest import digest_arrays
    from db3.files import read_array, write_array, write_json
    from flows.inputs import manifest_of

    folder, samples = data / "decisions", manifest_of(data, "samples")
    for name, array in arrays.items():
        write_array(folder / f"{name}.npy", array)
    count, classes = arrays["distances"].shape
    digested = {name: array for name, array in arrays.items() if name != "augmented"}
    digested |= {name: read_array(folder / f"{name}.npy") for name in _IMAGES}
    write_json(
        folder / "manifest.json",
        {
            "method": config.query.method,
            "budget": config.query.budget,
            "checkpoints": list(config.query.checkpoints),
            "queries": {
                **queries,
                "per_sample": round(queries["paid"] / count, 6),
                "per_pair": round(queries["paid"] / (count * (classes - 1)), 6),
            },
            "flips": flips,
            "unreached": int(np.isinf(arrays["distances"]).sum()),
            "points": len(arrays["point_pairs"]),
            "answered": len(arrays["answered_decisions"]),
            "shard": config.query.shard,
            "seed": config.query.seed,
            "teacher": samples["teacher"],
            "samples": samples["digest"],
            "digest": digest_arrays(digested),
        },
    )


if __name__ == "__main__":
    query_decisions.cli()
