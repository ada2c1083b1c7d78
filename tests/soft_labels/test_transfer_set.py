"""A recipe makes a transfer set: labels against the mappings' own functions, the rest against what was kept."""

from dataclasses import replace

import numpy as np
import pytest

from db3.errors import ConfigError, DataError
from db3.images.augmented import augmented_images, augmented_keys
from db3.soft_labels import (
    BoundaryPoints,
    QueriedImages,
    Recipe,
    SearchedSamples,
    SoftLabelSettings,
    TransferSet,
    add_variations,
    build_transfer_set,
    choose_recipe,
    given_scale,
    inverse,
    inverse_temperature,
    margin,
    margin_beta,
    recipe,
    transfer_set_at,
)

_MARGIN = Recipe("margin", 2.0, 8.0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def found() -> SearchedSamples:
    return searched_samples()


def searched_samples() -> SearchedSamples:
    drawn = np.random.default_rng(0)
    decisions = drawn.integers(0, 4, 10)
    distances = drawn.uniform(0.5, 3, (10, 4)).astype(np.float32)
    distances[np.arange(10), decisions] = 0
    distances[0, (decisions[0] + 1) % 4] = np.inf
    pairs = np.argwhere(np.isfinite(distances) & (distances > 0))

    def images(count: int) -> np.ndarray:  # type: ignore[type-arg]
        return drawn.integers(0, 256, (count, 1, 4, 4), dtype=np.uint8)

    keys = np.stack([drawn.integers(0, limit, 50) for limit in (10, 4, 30)], axis=1)
    told = QueriedImages(images(50), drawn.integers(0, 4, 50), keys)
    return SearchedSamples(images(10), decisions, distances, BoundaryPoints(images(len(pairs)), pairs), told)


def test_the_labels_are_those_of_the_mapping(found: SearchedSamples) -> None:
    transfer = build_transfer_set(found, _MARGIN)
    beta = margin_beta(found.distances, found.decisions, 2.0)
    assert np.array_equal(transfer.soft_labels, margin(found.distances, found.decisions, beta))
    assert (transfer.scale, transfer.boundary_points, transfer.queried_images) == (beta, None, None)
    transfer = build_transfer_set(found, replace(_MARGIN, mapping="inverse", gap=3.0))
    scale = inverse_temperature(found.distances, found.decisions, 3.0)
    assert np.array_equal(transfer.soft_labels, inverse(found.distances, found.decisions, scale))
    given = build_transfer_set(found, _MARGIN, 0.25)
    assert given.scale == 0.25
    assert np.array_equal(given.soft_labels, margin(found.distances, found.decisions, 0.25))


def test_hard_keeps_bare_decisions(found: SearchedSamples) -> None:
    transfer = build_transfer_set(found, Recipe("hard", 2.0, 1.0, 0.0, 0.0, 0.9))
    assert transfer.scale is None
    assert np.array_equal(transfer.soft_labels, np.eye(4, dtype=np.float32)[found.decisions])
    assert transfer.queried_images is found.queried_images


def test_boundary_points_share_the_scale_of_the_labels_beside_them(found: SearchedSamples) -> None:
    """At a point, the label's log-odds between m and another class j are β·max(0, d_j − d_k): one β for both."""
    points = build_transfer_set(found, replace(_MARGIN, boundary_points=0.5)).boundary_points
    beta = margin_beta(found.distances, found.decisions, 2.0)
    assert points is not None
    assert points.soft_labels is not None
    for (row, k), label in zip(points.pairs, points.soft_labels.astype(float), strict=True):
        m, d = found.decisions[row], found.distances[row].astype(float)
        for j in set(range(4)) - {m, k}:
            if np.isfinite(d[j]):
                assert np.log(label[m] / label[j]) == pytest.approx(beta * max(0, d[j] - d[k]), abs=1e-4)


def test_beside_bare_decisions_boundary_points_are_halves(found: SearchedSamples) -> None:
    points = build_transfer_set(found, Recipe("hard", 2.0, 1.0, 0.4, 0.1, 0.0)).boundary_points
    assert points is not None
    assert points.soft_labels is not None
    assert np.sort(points.soft_labels, axis=1)[:, -2:] == pytest.approx(0.9 / 2 + 0.1 / 4)


@pytest.mark.parametrize(
    ("how", "name"),
    [
        (replace(_MARGIN, boundary_points=0.5), "boundary points"),
        (replace(_MARGIN, queried_images=0.5), "queried images"),
    ],
)
def test_what_was_not_kept_cannot_be_learnt(found: SearchedSamples, how: Recipe, name: str) -> None:
    with pytest.raises(DataError, match=f"the recipe takes {name}, but the search kept none"):
        build_transfer_set(replace(found, boundary_points=None, queried_images=None), how)


def test_a_set_is_its_arrays(found: SearchedSamples) -> None:
    for how in (_MARGIN, replace(_MARGIN, boundary_points=0.3, queried_images=0.4)):
        transfer = build_transfer_set(found, how)
        again = TransferSet.from_arrays(how, transfer.scale, transfer.arrays())
        assert again.arrays().keys() == transfer.arrays().keys()
        assert all(again.arrays()[name] is array for name, array in transfer.arrays().items())


def test_after_fewer_queries_a_set_holds_what_was_found_by_then(found: SearchedSamples) -> None:
    transfer = build_transfer_set(found, replace(_MARGIN, boundary_points=0.3, queried_images=0.4))
    asked = np.arange(40).reshape(10, 4)
    earlier = transfer_set_at(transfer, 12, asked, found.distances * 2)
    assert transfer.scale is not None
    assert earlier.scale == pytest.approx(transfer.scale / 2)
    assert earlier.boundary_points is not None
    assert earlier.queried_images is not None
    assert found.queried_images is not None
    assert (asked[tuple(earlier.boundary_points.pairs.T)] <= 12).all()
    assert len(earlier.queried_images.images) == (found.queried_images.keys[:, 2] < 12).sum()
    nothing = transfer_set_at(transfer, 0, asked + 1, found.distances)
    assert nothing.boundary_points is nothing.queried_images is None


def test_what_is_given_goes_before_the_rule() -> None:
    given = SoftLabelSettings(mapping="margin", gap=3.0, queried_images=0.2)
    assert choose_recipe(given, 16.0) == Recipe("margin", 3.0, 8.0, 0.0, 0.0, 0.2)
    assert choose_recipe(SoftLabelSettings(), 16.0) == recipe(16.0)
    assert choose_recipe(SoftLabelSettings(), 16.0, temperature=4.0).temperature == 4.0
    scales = SoftLabelSettings(beta=0.5, temperature=20.0)
    assert [given_scale(scales, mapping) for mapping in ("margin", "inverse", "hard")] == [0.5, 20.0, None]
    with pytest.raises(ConfigError, match=r"soft_labels.mapping is margin, but nothing was searched"):
        choose_recipe(given, 0.0, distances=False)


def test_variations_stand_beside_what_searches_asked_with_both_their_parents() -> None:
    samples = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.full((1, 1, 6, 6), 60, np.uint8)
    asked = QueriedImages(samples[:1], np.array([1]), np.array([[0, 1, 0]]))
    decisions, keys = np.arange(10) % 3, augmented_keys(4, range(10), 5)
    found = add_variations(asked, augmented_images(samples, range(10), 5), decisions, keys)
    assert np.array_equal(found.images[1:], augmented_images(samples, range(10), 5))
    assert found.decisions.tolist() == [1, *decisions.tolist()]
    assert found.keys[1:, 0].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert found.keys[1:, 1].tolist() == [-1] * 10
    assert found.partners is not None
    assert found.partners[0] == -1
    partners = found.partners[1:]
    assert (partners[:4] == found.keys[1:5, 0]).all()  # the first turn is of plain warps
    assert (partners[4:8] != found.keys[5:9, 0]).all()  # the second of mixes
    assert found.keys[1:, 2].tolist() == [0] * 4 + [1] * 4 + [2] * 2


def test_a_file_holds_the_other_sample_of_a_variation_below_zero(found: SearchedSamples) -> None:
    images, keys = np.zeros((3, 1, 4, 4), np.uint8), np.array([[0, 1, 7], [3, -1, 0], [3, -1, 1]])
    queried = QueriedImages(images, np.array([1, 2, 0]), keys, np.array([-1, 3, 0]))
    held = build_transfer_set(replace(found, queried_images=queried), Recipe("hard", 2.0, 1.0, 0.0, 0.0, 0.9))
    arrays = held.arrays()
    assert arrays["queried_keys"].tolist() == [[0, 1, 7], [3, -4, 0], [3, -1, 1]]
    again = TransferSet.from_arrays(held.recipe, held.scale, arrays).queried_images
    assert again is not None
    assert again.partners is not None
    assert again.keys.tolist() == keys.tolist()
    assert again.partners.tolist() == [-1, 3, 0]
    kept = again.chosen(np.array([0, 2]))
    assert kept.partners is not None
    assert (kept.keys.tolist(), kept.partners.tolist()) == ([[0, 1, 7], [3, -1, 1]], [-1, 0])
