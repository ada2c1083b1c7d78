"""Samples and what is searched around them, made a transfer set; and a student of it."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from torch import nn

from db3.api.asking import Asking
from db3.api.plan import Plan
from db3.images.augmented import augmented_images, augmented_keys
from db3.progress import Progress
from db3.search import DistanceParts, search_pairs
from db3.search.beside import ask_variations
from db3.search.catalogue import WITH_SURROGATES, resolve_search
from db3.search.surrogate.surrogate import surrogates_of
from db3.settings.search import Query
from db3.soft_labels import (
    BoundaryPoints,
    QueriedImages,
    SearchedSamples,
    TransferSet,
    add_variations,
    build_transfer_set,
    choose_recipe,
    given_scale,
)
from db3.students import StudentSettings, label_by_assistants, student_variant, terms_of, train_variants
from db3.students.choices import student_settings
from db3.types import TransferImages
from db3.work import cut

_PIECE = 50  # samples searched in one piece: what a kill may cost to compute again


def search_transfer_set(asking: Asking, pool: TransferImages, plan: Plan, device: str) -> TransferSet:
    """The transfer set of what the searches around the samples find, if the plan searches at all."""
    chosen, before = plan.settings, asking.counts["votes"]
    search = resolve_search(chosen.query, chosen.samples.method)
    surrogate = surrogates_of(chosen.query) if search.method in WITH_SURROGATES else None
    parts = cut(len(pool.decisions), _PIECE)
    with Progress("searching", plan.searches, "query") as progress:
        found = search_pairs(
            asking, pool, search, parts, surrogate, device=device, on_asked=progress.advance, run=asking.run
        )
        points, queried, distances, asked = _merged(found)
    queried = _with_variations(asking, pool, asked + len(found.synthetic_answers), queried, chosen.query)
    pairs = len(pool.decisions) * (asking.spec.classes - 1)
    recipe = choose_recipe(
        chosen.soft_labels,
        (asking.counts["votes"] - before) / pairs,
        points=len(points.images) > 0,
        answers=len(queried.images) > 0,
        distances=search.method != "none",
        temperature=chosen.distill.temperature,
    )
    samples = SearchedSamples(pool.images, pool.decisions, distances, points, queried)
    return build_transfer_set(samples, recipe, given_scale(chosen.soft_labels, recipe.mapping))


def _with_variations(
    asking: Asking, pool: TransferImages, searched: int, queried: QueriedImages, query: Query
) -> QueriedImages:
    """What the searches asked, and beside it the augmented images that the query's share of variations asks."""
    decisions = ask_variations(asking, pool, query, searched, run=asking.run).decisions
    if not len(decisions):
        return queried
    numbers, seed = range(len(decisions)), query.seed
    images, keys = augmented_images(pool.images, numbers, seed), augmented_keys(len(pool.images), numbers, seed)
    return add_variations(queried, images, decisions, keys)


def train_student(
    asking: Asking, transfer: TransferSet, plan: Plan, teacher_parameters: int | None, device: str
) -> tuple[nn.Module, StudentSettings]:
    """A student of the transfer set, on the CPU and in evaluation mode; how it was trained.

    Args:
        asking: runs the work.
        transfer: what it learns from.
        plan: how it is trained.
        teacher_parameters: weights of the teacher; None: unknown.
        device: where it is trained.
    """
    learn, seed, classes = plan.settings.distill, plan.settings.samples.seed, transfer.classes
    settings = student_settings(learn, transfer, teacher_parameters, [seed])
    cost = asking.counts["votes"] / len(transfer.images)
    variant = student_variant(transfer, cost, **terms_of(learn))
    if learn.assistants.networks:
        last = replace(settings.training, select="last")
        variant = label_by_assistants(variant, classes, learn.assistants, last, seed, asking.run)
    (trained,) = train_variants([variant], classes, settings, asking.run, device=device)
    return trained.network, settings


def _merged(found: DistanceParts) -> tuple[BoundaryPoints, QueriedImages, Float[np.ndarray, "n k"], int]:
    """Boundary points, queried images and distances of all parts, and how much all pairs asked."""
    parts = list(found)
    points, pairs, images, decisions, keys, distances = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("points", "point_pairs", "queried_images", "queried_decisions", "queried_keys", "distances")
    )
    asked = sum(int(part.asked.sum()) for part in parts)
    return BoundaryPoints(points, pairs), QueriedImages(images, decisions, keys), distances, asked
