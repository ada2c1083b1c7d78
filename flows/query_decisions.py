"""Stage query_decisions: search the distance from each sample to the boundary of each other class."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from db3.digest import digest_arrays
from db3.files import growing_array, read_array, write_array
from db3.images.augmented import augmented_images, augmented_keys
from db3.search import DistanceParts, SearchSettings, TransferImages, search_pairs
from db3.search.beside import ask_augmented, ask_variations
from db3.search.catalogue import WITH_SURROGATES, resolve_search
from db3.search.share import boundary_share
from db3.search.surrogate.surrogate import surrogates_of
from db3.work import Arrays, cut
from flows.bill import sent_before
from flows.config import Config, device_of
from flows.costs import spent_words, write_costs
from flows.engine.stage import stage
from flows.engine.teacher_work import Asking
from flows.inputs import flips_of, plan_of, transfer_images
from flows.manifests import EDITION, DecisionsManifest, DecisionsQueries, SamplesManifest, read_manifest, write_manifest

_MERGED = ("distances", "asked", "at", "point_pairs", "queried_decisions", "queried_keys", "starts", "start_distances")
_FOUND = ("points", "queried_images")
_IMAGES = (*_FOUND, "variation_images")
_CHUNK = 16384  # variations made and written at once
Decisions = Int64[np.ndarray, " v"]


@stage("query_decisions", estimate="flows.estimate")
def query_decisions(config: Config, data: Path) -> str:
    """Search boundary distances shard by shard; ask the augmented baseline's images; seal the answers."""
    samples = read_manifest(data / "samples" / "manifest.json", SamplesManifest)
    plan = plan_of(config, samples.count, len(samples.decided))
    before = sent_before(data, {"samples": samples.digest}, samples.queries.votes)
    asking = Asking(config, data, "query_decisions", plan.maximum, before)
    manifest = decide_boundaries(config, data, asking)
    costs = write_costs(data, "query_decisions", manifest.digest, asking, config.runtime.price)
    kept = f", {asking.reused} of {asking.pieces} shards were already computed" if asking.reused else ""
    queries = manifest.queries
    return (
        f"{samples.count:,} samples, {queries.asked:,} queries asked, {queries.augmented:,} for the augmented "
        f"baseline{costs}{kept}"
        f"{spent_words(config, asking, manifest.unfinished, 'pairs')}"
    )


def decide_boundaries(config: Config, data: Path, asking: Asking) -> DecisionsManifest:
    """Write data/decisions, whoever answers; its manifest."""
    pool, settings, folder = (
        transfer_images(data),
        resolve_search(config.query, config.samples.method),
        data / "decisions",
    )
    found = _search(config, pool, settings, asking)
    arrays, unfinished = _write_parts(folder, pool, found)
    searched = int(arrays["asked"].sum()) + len(found.synthetic_answers)
    query, how = config.query, {"affordable": asking.affordable, "run": asking.run}
    own = ask_variations(asking, pool, query, searched, **how)
    votes, variations = asking.costs["votes"], len(own.decisions)
    more = ask_augmented(asking, pool, query, searched, variations, **how)
    start_distances = arrays.pop("start_distances")
    if settings.method == "none":
        arrays.pop("starts")
    arrays |= _write_variations(folder, pool, own.decisions, query.seed) if variations else {}
    for name, array in (arrays | ({"augmented": more.decisions} if len(more.decisions) else {})).items():
        write_array(folder / f"{name}.npy", array)
    images = {name: read_array(folder / f"{name}.npy") for name in (_IMAGES if variations else _FOUND)}
    asking.seal(folder / "journal")
    samples, classes = arrays["distances"].shape
    manifest = DecisionsManifest(
        method=settings.method,
        budget=settings.budget,
        checkpoints=settings.checkpoints,
        queries=DecisionsQueries(
            asked=searched + variations,
            votes=votes,
            synthetic_queries=len(found.synthetic_answers),
            augmented=len(more.decisions),
            per_sample=round(votes / samples, 6),
            per_pair=round(votes / (samples * (classes - 1)), 6),
            variations=variations,
        ),
        flips=flips_of(asking.costs["compared"], asking.costs["changed"]),
        spent=asking.costs["spent"] > 0 or own.short or more.short,
        unfinished=unfinished,
        unreached=int(np.isinf(arrays["distances"]).sum()),
        points=len(arrays["point_pairs"]),
        queried_images=len(arrays["queried_decisions"]),
        shard=config.runtime.shard,
        seed=config.query.seed,
        teacher=asking.spec.identity,
        samples=pool.digest,
        digest=digest_arrays(arrays | images),
        edition=EDITION,
        arithmetic=config.query.surrogate.arithmetic if settings.method in WITH_SURROGATES else None,
        boundary=boundary_share(arrays["distances"], start_distances),
    )
    write_manifest(folder / "manifest.json", manifest)
    return manifest


def _write_variations(folder: Path, pool: TransferImages, decisions: Decisions, seed: int) -> Arrays:
    """Write the student's augmented images, never all in memory; the decisions on them, and what they descend from."""
    numbers = range(len(decisions))
    with growing_array(folder / "variation_images.npy", pool.images.shape[1:], np.uint8) as append:
        for part in cut(len(decisions), _CHUNK):
            append(augmented_images(pool.images, part, seed))
    return {
        "variation_decisions": decisions,
        "variation_keys": augmented_keys(len(pool.images), numbers, seed),
    }


def _search(config: Config, pool: TransferImages, settings: SearchSettings, asking: Asking) -> DistanceParts:
    surrogate = surrogates_of(config.query) if settings.method in WITH_SURROGATES else None
    workers = 1 if config.runtime.runner == "local" else config.runtime.workers
    parts, device = cut(len(pool.decisions), config.runtime.shard), device_of(config)
    return search_pairs(asking, pool, settings, parts, surrogate, device=device, workers=workers, run=asking.run)


def _write_parts(folder: Path, pool: TransferImages, found: DistanceParts) -> tuple[Arrays, int]:
    """Write every part's images, each part read once; all parts' small arrays, merged, and the unfinished pairs."""
    parts, unfinished, image = [], 0, pool.images.shape[1:]
    with ExitStack() as stack:
        images = {name: stack.enter_context(growing_array(folder / f"{name}.npy", image, np.uint8)) for name in _FOUND}
        for part in found:
            parts.append({name: getattr(part, name) for name in _MERGED})
            unfinished += int(part.unfinished.sum())
            for name, append in images.items():
                append(getattr(part, name))
    merged = {name: np.concatenate([part[name] for part in parts], axis=1 if name == "at" else 0) for name in _MERGED}
    merged["distances_at"] = merged.pop("at")
    return merged, unfinished


if __name__ == "__main__":
    query_decisions.cli()
