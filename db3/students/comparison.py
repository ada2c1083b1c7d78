"""Which variants a run compares: the student, the baselines asked for, and the student's curve against queries."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Int64
from torch import nn

from db3.errors import ConfigError
from db3.images.augmented import augmented_images, augmented_parents
from db3.settings.soft_labels import SoftLabelSettings
from db3.settings.training import Arithmetic, VariantName, VariantSettings
from db3.soft_labels import (
    SearchedSamples,
    TransferSet,
    alone,
    build_transfer_set,
    given_scale,
    transfer_set_at,
)
from db3.students import baselines
from db3.students.baselines import TITLES
from db3.students.teacher_logits import teacher_logits
from db3.students.variants import Variant, student_variant, terms_of

_BY_RECIPE = SoftLabelSettings()
_SHARES = (1 / 4, 1 / 2)  # of the images made: points of their curve


@dataclass(frozen=True)
class SearchProgress:
    """What the searches knew on the way, for the curve.

    Attributes:
        checkpoints: queries per pair, T of them.
        distances: the best known after each checkpoint.
        asked: queries that each pair asked in all.
        queries_before: queries per sample that belong to no pair: the sample itself, and those of surrogates.
    """

    checkpoints: Sequence[int]
    distances: Float[np.ndarray, "t n k"]
    asked: Int[np.ndarray, "n k"]
    queries_before: float


@dataclass(frozen=True)
class VariantSources:
    """What variants are built from; what a run does not have is None.

    Attributes:
        transfer: what the student learns from.
        queries_per_sample: what that cost.
        distances: boundary distances of the samples; None: nothing was searched.
        progress: of the searches.
        rounds: the round in which each sample was made, for the curve where nothing was searched.
        augmented: the teacher's decisions on the augmented images 0, 1, … of the samples.
        augmented_seed: of these images.
        starts: the start samples of each pair's search, see `nearest_starts`; None: not told.
        network: the teacher's own, whose scores `kd` needs and no black box tells.
        arithmetic: in which it tells them.
    """

    transfer: TransferSet
    queries_per_sample: float
    distances: Float[np.ndarray, "n k"] | None = None
    progress: SearchProgress | None = None
    rounds: Int[np.ndarray, " n"] | None = None
    augmented: Int64[np.ndarray, " m"] | None = None
    augmented_seed: int = 0
    starts: Int64[np.ndarray, "n k q"] | None = None
    network: nn.Module | None = None
    arithmetic: Arithmetic = "float32"


def build_variants(
    sources: VariantSources,
    settings: VariantSettings,
    soft_labels: SoftLabelSettings = _BY_RECIPE,
    seed: int = 0,
) -> list[Variant]:
    """The student first, then the baselines wanted that the sources allow (`left_out`), then the curve.

    Args:
        sources: what they are built from.
        settings: which, and how.
        soft_labels: scales of the mappings.
        seed: of the random logits of `noise`.

    Raises:
        ConfigError: `augmented` is wanted beside a search, but no augmented image was asked.
    """
    own, starts = terms_of(settings), sources.starts
    student = student_variant(sources.transfer, sources.queries_per_sample, starts=starts, **own)
    absent = left_out(sources, settings.baselines)
    wanted = [name for name in settings.baselines if name not in absent]
    curve = _curve(sources, settings, soft_labels) if settings.curve else []
    return [student, *(_baseline(name, sources, settings, soft_labels, seed) for name in wanted), *curve]


def left_out(sources: VariantSources, wanted: Sequence[VariantName]) -> dict[VariantName, str]:
    """Baselines wanted that the sources have nothing for, each with the reason."""
    reasons: dict[VariantName, str] = {}
    if sources.distances is None:
        reasons |= dict.fromkeys(("inverse", "margin"), "nothing was searched, so there is no distance")
        if sources.augmented is None:
            reasons["augmented"] = "nothing was searched, so there is no number of queries to ask likewise"
    if sources.network is None:
        reasons["kd"] = "it needs the teacher's scores, and this teacher tells none"
    return {name: reasons[name] for name in wanted if name in reasons}


def _baseline(
    name: VariantName, sources: VariantSources, settings: VariantSettings, soft_labels: SoftLabelSettings, seed: int
) -> Variant:
    held = sources.transfer
    images, decisions = held.images, held.decisions
    match name:
        case "hard":
            return baselines.hard(images, decisions)
        case "smoothing":
            return baselines.smoothing(images, decisions, held.classes, settings.label_smoothing)
        case "noise":
            weights = settings.weights
            return baselines.noise(images, decisions, held.classes, settings.noise, seed, ce=weights.ce, kl=weights.kl)
        case "inverse" | "margin" if sources.distances is not None:
            samples = SearchedSamples(images, decisions, sources.distances)
            return _mapped(name, samples, sources.queries_per_sample, settings, soft_labels)
        case "augmented":
            return _augmented(held, sources.augmented, sources.augmented_seed)
        case "kd" if sources.network is not None:
            logits = teacher_logits(sources.network, images, arithmetic=sources.arithmetic)
            return baselines.kd(images, decisions, logits, settings.kd_temperature)
    raise ConfigError(f"there is nothing to build the baseline {name} from: leave it out")


def _mapped(
    mapping: Literal["inverse", "margin"],
    samples: SearchedSamples,
    queries_per_sample: float,
    settings: VariantSettings,
    soft_labels: SoftLabelSettings,
) -> Variant:
    """Labels of the samples by one mapping, and nothing beside them."""
    recipe = alone(mapping)
    if settings.temperature != "auto":
        recipe = replace(recipe, temperature=float(settings.temperature))
    labelled = build_transfer_set(samples, recipe, given_scale(soft_labels, mapping))
    title, ce, kl = TITLES[mapping], settings.weights.ce, settings.weights.kl
    return student_variant(labelled, queries_per_sample, name=mapping, title=title, ce=ce, kl=kl)


def _augmented(held: TransferSet, decided: Int64[np.ndarray, " m"] | None, seed: int) -> Variant:
    """The samples and their variations, which are made again from the samples and the seed."""
    if decided is None:
        raise ConfigError(
            "distill.baselines asks for `augmented`, but no augmented image was asked: set query.augmented=same, "
            "or take it from the list"
        )
    made = augmented_images(held.images, range(len(decided)), seed)
    images, decisions = np.concatenate([held.images, made]), np.concatenate([held.decisions, decided])
    parents = augmented_parents(len(held.images), range(len(decided)), seed)
    return baselines.augmented(images, decisions, len(held.images), parents)


def _curve(sources: VariantSources, settings: VariantSettings, soft_labels: SoftLabelSettings) -> list[Variant]:
    if sources.distances is None:
        if sources.rounds is None:
            return []
        return _by_rounds(sources.transfer, sources.rounds, sources.queries_per_sample, settings.smoothing)
    if sources.progress is None:
        return []
    return _by_checkpoints(sources.transfer, sources.progress, settings, soft_labels)


def _by_checkpoints(
    held: TransferSet, progress: SearchProgress, settings: VariantSettings, soft_labels: SoftLabelSettings
) -> list[Variant]:
    """The student as it would be had each pair stopped after the queries of a checkpoint."""
    variants, scale = [], given_scale(soft_labels, held.recipe.mapping)
    for checkpoint, distances in zip(progress.checkpoints, progress.distances, strict=True):
        transfer = transfer_set_at(held, checkpoint, progress.asked, np.array(distances), scale)
        cost = progress.queries_before + float(np.minimum(progress.asked, checkpoint).sum()) / len(progress.asked)
        name, title = f"student@{checkpoint}", f"the student after {checkpoint} queries per pair"
        variants.append(student_variant(transfer, cost, name=name, title=title, **terms_of(settings)))
    return variants


def _by_rounds(
    held: TransferSet, rounds: Int[np.ndarray, " n"], queries_per_sample: float, smoothing: float
) -> list[Variant]:
    """The student as it would be had the rounds that made the samples ended after a quarter or half of them, about."""
    variants, total = [], len(held.images)
    ends = np.flatnonzero(np.diff(rounds)) + 1  # images decided when each round ended
    for count in sorted({int(ends[np.abs(ends - share * total).argmin()]) for share in _SHARES if len(ends)}):
        first = TransferSet(alone("hard"), None, held.images[:count], held.decisions[:count], held.soft_labels[:count])
        name, title = f"student@{count}", f"the student of the first {count:,} images"
        cost = queries_per_sample * count / total
        variants.append(student_variant(first, cost, name=name, title=title, smoothing=smoothing))
    return variants
