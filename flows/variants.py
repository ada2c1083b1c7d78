"""Which variants a run compares, built from the folders before distill."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db3.errors import ConfigError
from flows.config import Config
from flows.inputs import manifest_of
from flows.soft_labels import labels_of

if TYPE_CHECKING:
    from db3.soft_labels.build import Mapping
    from db3.students.variants import Variant
    from db3.training.examples import Group

_SHARES = (1 / 4, 1 / 2)  # of the images made: points of their curve
_MAPPINGS = {
    "margin": "boundary distances, margin mapping",
    "inverse": "boundary distances, paper's inverse mapping",
    "hard": "decisions",
}


def build_variants(config: Config, data: Path) -> "list[Variant]":
    """The student first, then the baselines asked for, then the points of the curve."""
    return [_student(config, data), *_baselines(config, data), *(_curve(config, data) if config.distill.curve else [])]


def _read(data: Path, name: str, mapped: bool = False) -> Any:
    from db3.files import read_array

    return read_array(data / "transfer" / f"{name}.npy", mapped=mapped)


def _transfer(data: Path) -> tuple[Any, Any, Any]:
    return _read(data, "images", mapped=True), _read(data, "decisions"), _read(data, "soft_labels")


def _soft(
    config: Config,
    data: Path,
    name: str,
    title: str,
    labels: Any,
    cost: float,
    temperature: float,
    groups: "tuple[Group, ...]" = (),
) -> "Variant":
    from db3.students.variants import soft
    from db3.training.examples import Examples

    images, decisions = _read(data, "images", mapped=True), _read(data, "decisions")
    weights = config.distill.weights
    if labels is None:
        return soft(name, title, Examples(images, decisions), cost, ce=1.0, kl=0.0, groups=groups)
    examples = Examples(images, decisions, labels)
    return soft(name, title, examples, cost, ce=weights.ce, kl=weights.kl, temperature=temperature, groups=groups)


def _student(config: Config, data: Path) -> "Variant":
    manifest = manifest_of(data, "transfer")
    also = [
        name
        for name, held in (("boundary_points", "boundary_points"), ("images asked", "queried_images"))
        if held in manifest["samples_of"]
    ]
    title = " and ".join([_MAPPINGS[manifest["mapping"]], *also])
    labels = None if manifest["mapping"] == "hard" else _read(data, "soft_labels")
    cost, groups = manifest["queries"]["per_sample"], _groups(data, manifest)
    return _soft(config, data, "student", title, labels, cost, manifest["recipe"]["temperature"], groups)


def _groups(data: Path, manifest: dict[str, Any], until: int | None = None) -> "tuple[Group, ...]":
    """What the transfer set holds beside the samples, with its share of every batch.

    Args:
        data: the folder.
        manifest: of the transfer set.
        until: leave out what a search found after so many queries of its pair. Of boundary points only those stay
            whose search had ended by then: where the others' points stood is not kept.
    """
    from db3.files import read_array
    from db3.students import variants

    groups, recipe = [], manifest["recipe"]
    if "boundary_points" in manifest["samples_of"]:
        labels, pairs = _read(data, "boundary_points_soft_labels"), _read(data, "boundary_points_pairs")
        asked = read_array(data / "decisions" / "asked.npy", mapped=False)[pairs[:, 0], pairs[:, 1]]
        rows = _rows(asked, until)
        if len(rows):
            points = _read(data, "boundary_points", mapped=True)[rows]
            share, temperature = recipe["boundary_points"], recipe["temperature"]
            groups.append(variants.boundary_points(points, pairs[rows], labels[rows], share, temperature=temperature))
    if "queried_images" in manifest["samples_of"]:
        decisions, keys = _read(data, "queried_decisions"), _read(data, "queried_keys")
        rows = _rows(keys[:, 2] + 1, until)
        if len(rows):
            images = _read(data, "queried_images", mapped=True)[rows]
            groups.append(variants.queried_images(images, decisions[rows], keys[rows, 0], recipe["queried_images"]))
    return tuple(groups)


def _rows(queries: Any, until: int | None) -> Any:
    import numpy as np

    return np.arange(len(queries)) if until is None else np.flatnonzero(queries <= until)


def _baselines(config: Config, data: Path) -> "list[Variant]":
    from db3.students import variants

    learn = config.distill
    images, decisions, labels = _transfer(data)
    classes, seed = labels.shape[1], manifest_of(data, "decisions")["seed"]
    build = {
        "hard": lambda: variants.hard(images, decisions),
        "smoothing": lambda: variants.smoothing(images, decisions, classes, learn.label_smoothing),
        "noise": lambda: variants.noise(
            images, decisions, classes, learn.noise, seed, ce=learn.weights.ce, kl=learn.weights.kl
        ),
        "inverse": lambda: _mapped(config, data, "inverse"),
        "margin": lambda: _mapped(config, data, "margin"),
        "augmented": lambda: _augmented(data),
        "kd": lambda: _kd(config, data),
    }
    impossible = _impossible(config, data)
    return [build[name]() for name in learn.baselines if name not in impossible]


def _impossible(config: Config, data: Path) -> set[str]:
    """Baselines that this run has nothing to build from; those asked for are named on stderr, and left out."""
    from db3.teachers.folder import is_open, read_card

    search, card = manifest_of(data, "decisions"), read_card(data / "teacher")
    reasons: dict[str, str] = {}
    if search["method"] == "none":
        reasons = dict.fromkeys(("inverse", "margin"), "query.method is none, so there is no distance")
        if not search["queries"]["augmented"]:
            reasons["augmented"] = "query.method is none, so there is no number of queries to ask likewise"
    if not is_open(card):
        reasons["kd"] = f"it needs the teacher's scores, and a teacher of kind {card['kind']} tells none"
    for name in (name for name in config.distill.baselines if name in reasons):
        print(f"distill: {name} is left out: {reasons[name]}", file=sys.stderr)
    return set(reasons)


def _mapped(config: Config, data: Path, mapping: "Mapping") -> "Variant":
    """Labels of the samples by one mapping, and nothing beside them."""
    from db3.files import read_array
    from db3.soft_labels import alone
    from db3.students.variants import TITLES

    distances = read_array(data / "decisions" / "distances.npy", mapped=False)
    recipe, given = alone(mapping), config.distill.temperature
    labels, _ = labels_of(config, distances, _read(data, "decisions"), recipe)
    cost = manifest_of(data, "transfer")["queries"]["per_sample"]
    temperature = recipe.temperature if given == "auto" else float(given)
    return _soft(config, data, mapping, TITLES[mapping], labels, cost, temperature)


def _augmented(data: Path) -> "Variant":
    """The original samples and their variations, which are made again from the samples and the seed."""
    import numpy as np

    from db3.files import read_array
    from db3.images.augmented import augmented_images
    from db3.students.variants import augmented

    images, decisions, _ = _transfer(data)
    answers = data / "decisions" / "augmented.npy"
    if not answers.is_file():
        raise ConfigError(
            "distill.baselines asks for `augmented`, but no augmented image was asked: set query.augmented=same, "
            "or take it from the list"
        )
    told = read_array(answers, mapped=False)
    made = augmented_images(images, range(len(told)), manifest_of(data, "decisions")["seed"])
    return augmented(np.concatenate([images, made]), np.concatenate([decisions, told]), originals=len(images))


def _kd(config: Config, data: Path) -> "Variant":
    from db3.students.kd import teacher_logits
    from db3.students.variants import kd
    from db3.teachers.folder import open_network

    images, decisions, _ = _transfer(data)
    logits = teacher_logits(open_network(data / "teacher"), images)
    return kd(images, decisions, logits, config.distill.kd_temperature)


def _curve(config: Config, data: Path) -> "list[Variant]":
    """The student as it would be had each pair stopped after the queries of a checkpoint."""
    import numpy as np

    from db3.files import read_array
    from db3.soft_labels import Recipe

    manifest, transfer = manifest_of(data, "decisions"), manifest_of(data, "transfer")
    if manifest["method"] == "none":
        return _grown(data, transfer["queries"]["per_sample"])
    asked = read_array(data / "decisions" / "asked.npy")
    at = read_array(data / "decisions" / "distances_at.npy")
    before = (manifest["queries"]["asked"] - int(asked.sum())) / len(asked) + 1
    variants, recipe, decisions = [], Recipe(**transfer["recipe"]), _read(data, "decisions")
    for checkpoint, distances in zip(manifest["checkpoints"], at, strict=True):
        labels, _ = labels_of(config, np.array(distances), decisions, recipe)
        cost = before + float(np.minimum(asked, checkpoint).sum()) / len(asked)
        title = f"the student after {checkpoint} queries per pair"
        groups = _groups(data, transfer, checkpoint)
        variants.append(_soft(config, data, f"student@{checkpoint}", title, labels, cost, recipe.temperature, groups))
    return variants


def _grown(data: Path, cost: float) -> "list[Variant]":
    """The student as it would be, had the rounds that made the samples ended after a quarter or half of them, about.

    Args:
        data: the folder.
        cost: queries per sample of them all.
    """
    import numpy as np

    from db3.files import read_array
    from db3.students.variants import soft
    from db3.training.examples import Examples

    path = data / "samples" / "rounds.npy"
    if not path.is_file():
        return []
    ends = np.flatnonzero(np.diff(read_array(path, mapped=False))) + 1  # images decided when each round ended
    images, decisions = _read(data, "images", mapped=True), _read(data, "decisions")
    variants = []
    for count in sorted({int(ends[np.abs(ends - share * len(images)).argmin()]) for share in _SHARES if len(ends)}):
        title, paid = f"the student of the first {count:,} images", cost * count / len(images)
        first = Examples(images[:count], decisions[:count])
        variants.append(soft(f"student@{count}", title, first, paid, ce=1.0, kl=0.0))
    return variants
