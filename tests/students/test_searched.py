"""Recipes become variants: labels against the mappings' own functions, groups against what was kept."""

from dataclasses import replace

import numpy as np
import pytest

from db3.errors import DataError
from db3.soft_labels import Recipe, inverse, inverse_temperature, margin, margin_beta
from db3.students.searched import Points, QueriedImages, Searched, searched

_MARGIN = Recipe("margin", 2.0, 8.0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def found() -> Searched:
    drawn = np.random.default_rng(0)
    decisions = drawn.integers(0, 4, 10)
    distances = drawn.uniform(0.5, 3, (10, 4)).astype(np.float32)
    distances[np.arange(10), decisions] = 0
    distances[0, (decisions[0] + 1) % 4] = np.inf
    pairs = np.argwhere(np.isfinite(distances) & (distances > 0))

    def images(count: int) -> np.ndarray:  # type: ignore[type-arg]
        return drawn.integers(0, 256, (count, 1, 4, 4), dtype=np.uint8)

    told = QueriedImages(images(50), drawn.integers(0, 4, 50), drawn.integers(0, 10, 50))
    return Searched(images(10), decisions, distances, Points(images(len(pairs)), pairs), told)


def test_a_mapping_gives_soft_labels_at_its_temperature(found: Searched) -> None:
    variant = searched("student", "t", found, _MARGIN, 17.0)
    beta = margin_beta(found.distances, found.decisions, 2.0)
    assert np.array_equal(variant.examples.soft_labels, margin(found.distances, found.decisions, beta))  # type: ignore[arg-type]
    assert (variant.ce, variant.kl, variant.temperature, variant.groups, variant.queries_per_sample) == (
        0.0,
        1.0,
        8.0,
        (),
        17.0,
    )
    variant = searched("inverse", "t", found, replace(_MARGIN, mapping="inverse", gap=3.0), 17.0)
    scale = inverse_temperature(found.distances, found.decisions, 3.0)
    assert np.array_equal(variant.examples.soft_labels, inverse(found.distances, found.decisions, scale))  # type: ignore[arg-type]


def test_hard_keeps_bare_decisions(found: Searched) -> None:
    variant = searched("student", "t", found, Recipe("hard", 2.0, 1.0, 0.0, 0.0, 0.9), 17.0)
    assert (variant.ce, variant.kl, variant.examples.soft_labels) == (1.0, 0.0, None)
    (group,) = variant.groups
    assert found.queried_images is not None
    assert (group.name, group.share, group.ce, group.kl) == ("queried_images", 0.9, 1.0, 0.0)
    assert group.examples.decisions is found.queried_images.decisions


def test_boundary_points_share_the_scale_of_the_labels_beside_them(found: Searched) -> None:
    """At a point, the label's log-odds between m and another class j are β·max(0, d_j − d_k): one β for both."""
    variant = searched("student", "t", found, replace(_MARGIN, boundary_points=0.5), 17.0)
    (group,) = variant.groups
    assert (group.temperature, group.kl, group.ce) == (8.0, 1.0, 0.0)
    beta = margin_beta(found.distances, found.decisions, 2.0)
    assert found.points is not None
    assert group.examples.soft_labels is not None
    for (row, k), label in zip(found.points.pairs, group.examples.soft_labels.astype(float), strict=True):
        m, d = found.decisions[row], found.distances[row].astype(float)
        for j in set(range(4)) - {m, k}:
            if np.isfinite(d[j]):
                assert np.log(label[m] / label[j]) == pytest.approx(beta * max(0, d[j] - d[k]), abs=1e-4)


def test_beside_bare_decisions_ties_are_halves(found: Searched) -> None:
    variant = searched("student", "t", found, Recipe("hard", 2.0, 1.0, 0.4, 0.1, 0.0), 17.0)
    (group,) = variant.groups
    assert group.temperature == 1.0
    assert group.examples.soft_labels is not None
    assert np.sort(group.examples.soft_labels, axis=1)[:, -2:] == pytest.approx(0.9 / 2 + 0.1 / 4)


@pytest.mark.parametrize(
    ("how", "name"),
    [(replace(_MARGIN, boundary_points=0.5), "boundary points"), (replace(_MARGIN, queried_images=0.5), "answers")],
)
def test_what_was_not_kept_cannot_be_learnt(found: Searched, how: Recipe, name: str) -> None:
    with pytest.raises(DataError, match=f"the recipe takes {name}, but the search kept none"):
        searched("student", "t", replace(found, points=None, queried_images=None), how, 17.0)
