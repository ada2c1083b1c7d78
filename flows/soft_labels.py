"""Stage soft_labels: distances become class distributions, asked images become samples; the set gets its digest."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db3.errors import ConfigError
from flows.config import Config
from flows.engine.stage import stage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from db3.soft_labels import Recipe


@stage("soft_labels")
def soft_labels(config: Config, data: Path) -> str:
    """Build the transfer set: samples with soft labels, boundary points and queried images, sealed by one digest."""
    import numpy as np

    from db3.digest import digest_arrays
    from db3.files import read_array, write_array, write_json
    from flows.inputs import manifest_of, transfer_images

    pool, samples, decided = transfer_images(data), manifest_of(data, "samples"), manifest_of(data, "decisions")
    distances = read_array(data / "decisions" / "distances.npy", mapped=False)
    recipe = recipe_of(config, decided)
    labels, scale = labels_of(config, distances, pool.decisions, recipe)
    if labels is None:
        labels = np.eye(distances.shape[1], dtype=np.float32)[pool.decisions]
    arrays = {"images": pool.images, "decisions": pool.decisions, "soft_labels": labels}
    arrays |= _boundary_points(data, recipe, distances, pool.decisions, scale) if recipe.boundary_points else {}
    arrays |= _queried_images(data) if recipe.queried_images else {}
    for name, array in arrays.items():
        write_array(data / "transfer" / f"{name}.npy", array)
    queries = {name: samples["queries"][name] + decided["queries"][name] for name in ("asked", "votes")}
    manifest = {
        "digest": digest_arrays(arrays),
        "mapping": recipe.mapping,
        "recipe": asdict(recipe),
        "samples_of": {
            name: len(arrays[name]) for name in ("images", "boundary_points", "queried_images") if name in arrays
        },
        "queries": {**queries, "per_sample": round(queries["votes"] / len(labels), 6)},
        "spent": decided["spent"],
        "unfinished": decided["unfinished"],
        "class_names": list(samples["decided"]),
        "teacher": samples["teacher"],
        "samples": samples["digest"],
        "decisions": decided["digest"],
    }
    if scale is not None:
        manifest["beta" if recipe.mapping == "margin" else "temperature"] = scale
    write_json(data / "transfer" / "manifest.json", manifest)
    said = ", ".join(f"{count:,} {name}" for name, count in manifest["samples_of"].items())
    at = "" if scale is None else f" at {scale:.4g}"
    return f"{said}; {recipe.mapping}{at}, transfer set {manifest['digest'][:12]}"


def recipe_of(config: Config, decided: dict[str, Any]) -> "Recipe":
    """What becomes of the queries: as given, and by the measured rule where a value is `auto`."""
    from db3.soft_labels import alone, recipe

    group = config.soft_labels
    searched = decided["method"] != "none"
    if not searched and group.mapping not in ("auto", "hard"):
        raise ConfigError(
            f"soft_labels.mapping is {group.mapping}, but query.method is none, so there are no distances: "
            "take soft_labels=auto, or another query"
        )
    best = recipe(
        decided["queries"]["per_pair"],
        points=decided["points"] > 0,
        answers=decided["queried_images"] > 0,
        distances=searched,
    )
    if group.mapping not in ("auto", best.mapping):  # another mapping than the rule's: its companions do not apply
        best = alone(group.mapping)
    given = {
        "gap": group.gap,
        "temperature": config.distill.temperature,
        "boundary_points": group.boundary_points,
        "smoothing": group.boundary_points_smoothing,
        "queried_images": group.queried_images,
    }
    return replace(best, **{name: float(value) for name, value in given.items() if value != "auto"})


def labels_of(
    config: Config, distances: "npt.NDArray[np.float32]", decisions: "npt.NDArray[np.int64]", recipe: "Recipe"
) -> "tuple[Any, float | None]":
    """Soft labels by the recipe's mapping with its configured or automatic scale, None where bare decisions are learnt;
    also for the variants of distill.
    """
    from db3.soft_labels import soft_labels as build

    if recipe.mapping == "hard":
        return None, None
    group = config.soft_labels
    given = group.beta if recipe.mapping == "margin" else group.temperature
    return build(recipe.mapping, distances, decisions, None if given == "auto" else float(given), recipe.gap)


def _boundary_points(
    data: Path,
    recipe: "Recipe",
    distances: "npt.NDArray[np.float32]",
    decisions: "npt.NDArray[np.int64]",
    scale: float | None,
) -> dict[str, Any]:
    """Boundary points as samples: labels of the samples' own scale, so that the two agree."""
    from db3.files import read_array
    from db3.soft_labels import boundary_point_labels

    pairs = read_array(data / "decisions" / "point_pairs.npy", mapped=False)
    labels = boundary_point_labels(
        distances, decisions, pairs, scale if recipe.mapping == "margin" else None, recipe.smoothing
    )
    points = read_array(data / "decisions" / "points.npy")
    return (
        {"boundary_points": points, "boundary_points_soft_labels": labels, "boundary_points_pairs": pairs}
        if len(points)
        else {}
    )


def _queried_images(data: Path) -> dict[str, Any]:
    from db3.files import read_array

    names = ("queried_images", "queried_decisions", "queried_keys")
    arrays = {name: read_array(data / "decisions" / f"{name}.npy") for name in names}
    return arrays if len(arrays["queried_images"]) else {}


if __name__ == "__main__":
    soft_labels.cli()
