"""Stage soft_labels: distances become class distributions, and the transfer set gets its digest."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from db3.config import Config
from flows.stage import stage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from db3.soft_labels.build import Mapping


@stage("soft_labels")
def soft_labels(config: Config, data: Path) -> str:
    """Build the transfer set: images, decisions and soft labels, sealed by one digest."""
    from db3.digest import digest_arrays
    from db3.files import read_array, write_array, write_json
    from flows.inputs import manifest_of, transfer_images

    pool, samples, decided = transfer_images(data), manifest_of(data, "samples"), manifest_of(data, "decisions")
    distances = read_array(data / "decisions" / "distances.npy", mapped=False)
    mapping = config.soft_labels.mapping
    labels, scale = labels_of(config, distances, pool.decisions, mapping)
    arrays = {"images": pool.images, "decisions": pool.decisions, "soft_labels": labels}
    for name, array in arrays.items():
        write_array(data / "transfer" / f"{name}.npy", array)
    queries = {name: samples["queries"][name] + decided["queries"][name] for name in ("asked", "paid")}
    manifest = {
        "digest": digest_arrays(arrays),
        "mapping": mapping,
        "beta" if mapping == "margin" else "temperature": scale,
        "gap": config.soft_labels.gap,
        "queries": {**queries, "per_sample": round(queries["paid"] / len(labels), 6)},
        "class_names": list(samples["decided"]),
        "teacher": samples["teacher"],
        "samples": samples["digest"],
        "decisions": decided["digest"],
    }
    write_json(data / "transfer" / "manifest.json", manifest)
    return f"{len(labels):,} samples, {mapping} at {scale:.4g}, transfer set {manifest['digest'][:12]}"


def labels_of(
    config: Config, distances: "npt.NDArray[np.float32]", decisions: "npt.NDArray[np.int64]", mapping: "Mapping"
) -> "tuple[Any, float]":
    """Soft labels by the given mapping with its configured or automatic scale; also for the arms of distill."""
    from db3.soft_labels import soft_labels as build

    group = config.soft_labels
    given = group.beta if mapping == "margin" else group.temperature
    return build(mapping, distances, decisions, None if given == "auto" else float(given), group.gap)


if __name__ == "__main__":
    soft_labels.cli()
