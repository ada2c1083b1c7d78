"""Variants against the transfer set that they are built from."""

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from db3.errors import ConfigError
from db3.soft_labels import Recipe, SearchedSamples, SoftLabelSettings, build_transfer_set, margin
from db3.students import (
    SearchProgress,
    VariantSettings,
    VariantSources,
    build_variants,
    left_out,
    student_variant,
)
from tests.soft_labels.test_transfer_set import searched_samples

_MARGIN = Recipe("margin", 2.0, 8.0, 0.3, 0.0, 0.4)
_ALL = ("hard", "smoothing", "noise", "inverse", "margin", "augmented", "kd")


@pytest.fixture(scope="module")
def found() -> SearchedSamples:
    return searched_samples()


def sources(found: SearchedSamples, recipe: Recipe = _MARGIN) -> VariantSources:
    return VariantSources(build_transfer_set(found, recipe), 17.0, found.distances)


def test_the_student_learns_the_samples_and_all_that_the_set_holds_beside_them(found: SearchedSamples) -> None:
    transfer = build_transfer_set(found, _MARGIN)
    variant = student_variant(transfer, 17.0, ce=0.25, kl=0.75)
    assert variant.examples.soft_labels is transfer.soft_labels
    assert (variant.name, variant.ce, variant.kl, variant.temperature) == ("student", 0.25, 0.75, 8.0)
    assert variant.title == "boundary distances, margin mapping and boundary points and images asked"
    points, queried = variant.groups
    assert (points.share, points.ce, points.kl, points.temperature) == (0.3, 0.0, 1.0, 8.0)
    assert (queried.share, queried.ce, queried.kl) == (0.4, 1.0, 0.0)
    assert transfer.queried_images is not None
    assert queried.examples.decisions is transfer.queried_images.decisions


def test_bare_decisions_are_learnt_by_cross_entropy_whatever_the_weights(found: SearchedSamples) -> None:
    transfer = build_transfer_set(found, Recipe("hard", 2.0, 1.0, 0.0, 0.0, 0.9))
    variant = student_variant(transfer, 17.0, ce=0.25, kl=0.75)
    assert (variant.ce, variant.kl, variant.examples.soft_labels) == (1.0, 0.0, None)


def test_bare_decisions_are_smoothed_and_soft_labels_left_as_they_are(found: SearchedSamples) -> None:
    bare = replace(sources(found, Recipe("hard", 2.0, 1.0, 0.0, 0.0, 0.9)), progress=None)
    student, *_ = build_variants(bare, VariantSettings((), curve=False, smoothing=0.2))
    classes = bare.transfer.classes
    for part in (student, *student.groups):
        assert (part.ce, part.kl, part.temperature) == (0.0, 1.0, 1.0)
        assert part.examples.soft_labels is not None
        assert part.examples.soft_labels.argmax(axis=1).tolist() == part.examples.decisions.tolist()
        assert part.examples.soft_labels.max(axis=1) == pytest.approx(np.full(len(part.examples), 0.8 + 0.2 / classes))
    mixed, *_ = build_variants(sources(found), VariantSettings((), curve=False, smoothing=0.2))
    points, queried = mixed.groups
    plain = student_variant(sources(found).transfer, 17.0)
    assert np.array_equal(mixed.examples.soft_labels, plain.examples.soft_labels)
    assert np.array_equal(points.examples.soft_labels, plain.groups[0].examples.soft_labels)
    assert queried.examples.soft_labels is not None


def test_every_baseline_is_built_in_the_order_wanted(found: SearchedSamples) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    whole = replace(sources(found), augmented=np.zeros(7, np.int64), network=network)
    assert left_out(whole, _ALL) == {}
    built = build_variants(whole, VariantSettings(_ALL[::-1], curve=False))
    assert [variant.name for variant in built] == ["student", *_ALL[::-1]]
    assert [len(variant.examples) for variant in built if variant.name == "augmented"] == [17]
    assert {variant.queries_per_sample for variant in built} == {1.0, 1.7, 17.0}


def test_a_mapping_alone_has_its_own_scale_and_nothing_beside_it(found: SearchedSamples) -> None:
    settings = VariantSettings(("margin", "inverse"), temperature=3.0)
    _, one, other = build_variants(sources(found), settings, SoftLabelSettings(beta=0.5))
    assert np.array_equal(one.examples.soft_labels, margin(found.distances, found.decisions, 0.5))  # type: ignore[arg-type]
    assert (one.groups, other.groups, one.temperature, other.temperature) == ((), (), 3.0, 3.0)


def test_what_a_run_has_nothing_for_is_left_out_with_the_reason(found: SearchedSamples) -> None:
    bare = replace(sources(found, Recipe("hard", 2.0, 1.0, 0.0, 0.0, 0.0)), distances=None)
    assert left_out(bare, _ALL).keys() == {"inverse", "margin", "augmented", "kd"}
    assert left_out(bare, ("hard", "kd")) == {"kd": "it needs the teacher's scores, and this teacher tells none"}
    names = [variant.name for variant in build_variants(bare, VariantSettings(_ALL))]
    assert names == ["student", "hard", "smoothing", "noise"]
    with pytest.raises(ConfigError, match="no augmented image was asked"):
        build_variants(sources(found), VariantSettings(("augmented",)))


def test_the_curve_follows_the_checkpoints_of_a_search(found: SearchedSamples) -> None:
    asked = np.full((10, 4), 20)
    progress = SearchProgress((5, 50), np.stack([found.distances * 2, found.distances]), asked, 2.0)
    student, early, late = build_variants(replace(sources(found), progress=progress), VariantSettings(()))
    assert [early.name, late.name] == ["student@5", "student@50"]
    assert [early.queries_per_sample, late.queries_per_sample] == [2 + 4 * 5, 2 + 4 * 20]
    assert np.array_equal(late.examples.soft_labels, student.examples.soft_labels)  # type: ignore[arg-type]
    assert [group.name for group in late.groups] == ["boundary_points", "queried_images"]
    assert [group.name for group in early.groups] == ["queried_images"]


def test_the_curve_of_made_samples_ends_with_their_rounds(found: SearchedSamples) -> None:
    bare = replace(sources(found, Recipe("hard", 2.0, 1.0, 0.0, 0.0, 0.0)), distances=None)
    rounds = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
    _, *curve = build_variants(replace(bare, rounds=rounds), VariantSettings(()))
    assert [variant.name for variant in curve] == ["student@3", "student@6"]
    assert [variant.queries_per_sample for variant in curve] == pytest.approx([17 * 0.3, 17 * 0.6])
    assert [len(variant.examples) for variant in curve] == [3, 6]
