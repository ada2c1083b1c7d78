"""Stage query_decisions: search the distance from each sample to the boundary of each other class."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.config import Config
from flows.engine.stage import stage

if TYPE_CHECKING:
    from flows.engine.shards import Shards
    from flows.engine.teacher_work import Asking
    from flows.searches import Found

_AUGMENTED_CODE = ("teachers", "networks", "arithmetic", "rng", "images")
_MERGED = ("distances", "asked", "at", "point_pairs", "queried_decisions", "queried_keys")
_IMAGES = ("points", "queried_images")
_AUGMENTED_SHARD = 16384  # images of the augmented baseline decided in one shard


@stage("query_decisions", estimate="flows.estimate")
def query_decisions(config: Config, data: Path) -> str:
    """Search boundary distances shard by shard; ask the augmented baseline's images; seal the answers."""
    from flows.costs import sent_before, spent_words, write_costs
    from flows.engine.teacher_work import Asking
    from flows.inputs import manifest_of
    from flows.planned import planned

    samples = manifest_of(data, "samples")
    plan = planned(config, samples["count"], len(samples["decided"]))
    before = sent_before(data, {"samples": samples["digest"]}, samples["queries"]["votes"])
    asking = Asking(config, data, "query_decisions", plan.maximum, before)
    told = decided(config, data, asking)
    count, asked = told["unfinished"], told["queries"]
    kept = f", {asking.reused} of {asking.pieces} shards were already computed" if asking.reused else ""
    return (
        f"{told['samples']:,} samples, {asked['asked']:,} queries asked, {asked['augmented']:,} for the augmented "
        f"baseline{write_costs(data, 'query_decisions', told['digest'], asking)}{kept}"
        f"{spent_words(config, asking, count, 'pairs')}"
    )


def decided(config: Config, data: Path, asking: "Asking") -> dict[str, Any]:
    """Write data/decisions, whoever answers; what its manifest says, and how many samples there are."""
    from flows.inputs import flips_of
    from flows.searches import search

    found = search(config, data, asking)
    arrays, unfinished = _written(data, found)
    boundary, votes = int(arrays["asked"].sum()) + len(found.synthetic_answers), asking.costs["votes"]
    wanted = boundary if config.query.augmented == "same" else config.query.augmented
    count = asking.affordable("augmented", wanted)
    arrays |= _augmented(config, data, asking, count)
    asking.seal(data / "decisions" / "journal")
    told = {
        "queries": {
            "asked": boundary,
            "votes": votes,
            "synthetic_queries": len(found.synthetic_answers),
            "augmented": len(arrays.get("augmented", ())),
        },
        "flips": flips_of(asking.costs["compared"], asking.costs["changed"]),
        "spent": asking.costs["spent"] > 0 or count < wanted,
        "unfinished": unfinished,
    }
    return {**_write(config, data, arrays, told), "samples": len(arrays["distances"])}


def _written(data: Path, found: "Found") -> tuple[dict[str, Any], int]:
    """Write every shard's images, each shard read once; all shards' small arrays, merged, and the unfinished pairs."""
    from contextlib import ExitStack

    import numpy as np

    from db3.files import growing_array
    from flows.inputs import transfer_images

    folder, image = data / "decisions", transfer_images(data).images.shape[1:]
    parts, unfinished = [], 0
    with ExitStack() as stack:
        images = {name: stack.enter_context(growing_array(folder / f"{name}.npy", image, np.uint8)) for name in _IMAGES}
        for shard in found:
            parts.append({name: getattr(shard, name) for name in _MERGED})
            unfinished += int(shard.unfinished.sum())
            for name, append in images.items():
                append(getattr(shard, name))
    merged = {name: np.concatenate([part[name] for part in parts], axis=1 if name == "at" else 0) for name in _MERGED}
    merged["distances_at"] = merged.pop("at")
    return merged, unfinished


def _augmented(config: Config, data: Path, asking: "Asking", count: int) -> dict[str, Any]:
    """Decisions on the augmented baseline's images, which are never stored: they follow from samples and seed."""
    import numpy as np

    from db3.digest import digest_code, digest_json
    from db3.errors import BudgetSpent
    from db3.images.augmented import augmented_images
    from db3.teachers.decide import decide_all
    from flows.inputs import manifest_of, transfer_images

    pool, manifest = transfer_images(data), manifest_of(data, "samples")
    parts = [range(start, min(start + _AUGMENTED_SHARD, count)) for start in range(0, count, _AUGMENTED_SHARD)]
    decided_by = [config.query.seed, manifest["teacher"], manifest["digest"], digest_code(*_AUGMENTED_CODE)]
    keys = [digest_json(["augmented", part.start, part.stop, *decided_by]) for part in parts]

    def compute(index: int) -> dict[str, Any]:
        images = augmented_images(pool.images, parts[index], config.query.seed)
        teacher, told = asking.teacher(), [np.empty(0, np.int64)]
        try:
            for start in range(0, len(images), teacher.spec.max_batch):
                told.append(decide_all(teacher, images[start : start + teacher.spec.max_batch], 1))
        except BudgetSpent:  # by attempts that brought no answer: without them, `count` was affordable
            pass
        return {"decisions": np.concatenate(told)}

    shards: Shards = asking.map("augmented", keys, compute, [len(part) for part in parts])
    found: list[Any] = []
    for part, shard in zip(parts, shards, strict=True):  # number i belongs to image i: none may be missing before it
        found.append(shard["decisions"])
        if len(shard["decisions"]) < len(part):
            break
    return {"augmented": np.concatenate(found)} if found else {}


def _write(config: Config, data: Path, arrays: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from db3.digest import digest_arrays
    from db3.files import read_array, write_array, write_json
    from flows.inputs import manifest_of, method_of

    folder, samples, method = data / "decisions", manifest_of(data, "samples"), method_of(config)
    for name, array in arrays.items():
        write_array(folder / f"{name}.npy", array)
    count, classes = arrays["distances"].shape
    digested = {name: array for name, array in arrays.items() if name != "augmented"}
    digested |= {name: read_array(folder / f"{name}.npy") for name in _IMAGES}
    votes = told["queries"]["votes"]
    manifest = {
        **told,
        "method": method.name,
        "budget": method.budget,
        "checkpoints": list(method.checkpoints),
        "queries": {
            **told["queries"],
            "per_sample": round(votes / count, 6),
            "per_pair": round(votes / (count * (classes - 1)), 6),
        },
        "unreached": int(np.isinf(arrays["distances"]).sum()),
        "points": len(arrays["point_pairs"]),
        "queried_images": len(arrays["queried_decisions"]),
        "shard": config.query.shard,
        "seed": config.query.seed,
        "teacher": samples["teacher"],
        "samples": samples["digest"],
        "digest": digest_arrays(digested),
    }
    write_json(folder / "manifest.json", manifest)
    return manifest


if __name__ == "__main__":
    query_decisions.cli()
