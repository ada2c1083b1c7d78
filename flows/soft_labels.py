"""Stage soft_labels: distances become class distributions, asked images become samples; the set gets its digest."""

from pathlib import Path

from db3.digest import digest_arrays
from db3.files import read_array, write_array
from db3.soft_labels import (
    BoundaryPoints,
    QueriedImages,
    Recipe,
    SearchedSamples,
    TransferSet,
    add_variations,
    build_transfer_set,
    choose_recipe,
    given_scale,
)
from flows.config import Config
from flows.engine.stage import stage
from flows.inputs import transfer_images
from flows.manifests import (
    DecisionsManifest,
    SamplesManifest,
    TransferManifest,
    TransferQueries,
    TransferSize,
    read_manifest,
    write_manifest,
)


@stage("soft_labels")
def soft_labels(config: Config, data: Path) -> str:
    """Build the transfer set: samples with soft labels, boundary points and queried images, sealed by one digest."""
    samples = read_manifest(data / "samples" / "manifest.json", SamplesManifest)
    search = read_manifest(data / "decisions" / "manifest.json", DecisionsManifest)
    recipe = _recipe(config, search)
    transfer = build_transfer_set(_searched(data, search), recipe, given_scale(config.soft_labels, recipe.mapping))
    arrays = transfer.arrays()
    for name, array in arrays.items():
        write_array(data / "transfer" / f"{name}.npy", array)
    manifest = _manifest(transfer, digest_arrays(arrays), samples, search)
    write_manifest(data / "transfer" / "manifest.json", manifest)
    names = ("images", "boundary_points", "queried_images")
    said = ", ".join(f"{len(arrays[name]):,} {name}" for name in names if name in arrays)
    at = "" if transfer.scale is None else f" at {transfer.scale:.4g}"
    return f"{said}; {recipe.mapping}{at}, transfer set {manifest.digest[:12]}"


def _recipe(config: Config, search: DecisionsManifest) -> Recipe:
    return choose_recipe(
        config.soft_labels,
        search.queries.per_pair,
        points=search.points > 0,
        answers=search.queried_images + search.queries.variations > 0,
        distances=search.method != "none",
        temperature=config.distill.temperature,
    )


def _searched(data: Path, search: DecisionsManifest) -> SearchedSamples:
    pool, folder = transfer_images(data), data / "decisions"
    distances, pairs = (read_array(folder / f"{name}.npy", mapped=False) for name in ("distances", "point_pairs"))
    queried = QueriedImages(*(read_array(folder / f"queried_{name}.npy") for name in ("images", "decisions", "keys")))
    points = BoundaryPoints(read_array(folder / "points.npy"), pairs)
    if search.queries.variations:
        varied = (read_array(folder / f"variation_{name}.npy") for name in ("images", "decisions", "keys"))
        queried = add_variations(queried, *varied)
    return SearchedSamples(pool.images, pool.decisions, distances, points, queried)


def _manifest(
    transfer: TransferSet, digest: str, samples: SamplesManifest, search: DecisionsManifest
) -> TransferManifest:
    points, queried, mapping = transfer.boundary_points, transfer.queried_images, transfer.recipe.mapping
    asked, votes = samples.queries.asked + search.queries.asked, samples.queries.votes + search.queries.votes
    count = len(transfer.images)
    return TransferManifest(
        digest=digest,
        mapping=mapping,
        recipe=transfer.recipe,
        samples_of=TransferSize(count, len(points.images) if points else 0, len(queried.images) if queried else 0),
        queries=TransferQueries(asked, votes, round(votes / count, 6)),
        spent=search.spent,
        unfinished=search.unfinished,
        class_names=samples.class_names,
        teacher=samples.teacher,
        samples=samples.digest,
        decisions=search.digest,
        beta=transfer.scale if mapping == "margin" else None,
        temperature=transfer.scale if mapping == "inverse" else None,
    )


if __name__ == "__main__":
    soft_labels.cli()
