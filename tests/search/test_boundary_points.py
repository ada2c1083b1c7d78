"""Boundary points: of the nearest classes, found by a query, whatever the order they come in."""

import numpy as np
import torch

from db3.search import SearchSettings, search_distances
from db3.search.boundary_points import NearestPoints
from tests.search.problems import GREY, brightest, pool

EMPTY = np.zeros(0, np.int64)


def test_the_nearest_classes_are_kept_in_order() -> None:
    kept = NearestPoints(2, 2, (1, 1, 1))
    row, klass = np.array([0, 0, 1, 0]), np.array([3, 1, 2, 5])
    distance = np.array([2.0, 1.0, 1.0, 0.5], np.float32)
    points = np.array([[30], [10], [20], [50]], np.uint8)
    found = np.array([True, True, True, False])
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        fresh = NearestPoints(2, 2, (1, 1, 1))
        for i in order:
            at = slice(i, i + 1)
            fresh.offer(row[at], klass[at], distance[at], points[at], found[at])
        assert fresh.classes.tolist() == [[1, 3], [2, -1]]
        assert fresh.images.ravel().tolist() == [10, 30, 20, 0]
    kept.offer(row, klass, distance, points, found)
    images, pairs = kept.flat(first=100)
    assert images.ravel().tolist() == [10, 30, 20]
    assert pairs.tolist() == [[100, 1], [100, 3], [101, 2]]


def test_none_are_kept_where_none_are_wanted() -> None:
    kept = NearestPoints(3, 0, (1, 2, 2))
    kept.offer(EMPTY, EMPTY, EMPTY.astype(np.float32), np.zeros((0, 4), np.uint8), EMPTY.astype(bool))
    images, pairs = kept.flat(0)
    assert (images.shape, pairs.shape) == ((0, 1, 2, 2), (0, 2))


def test_a_point_is_an_image_that_a_query_found() -> None:
    """With no budget only start samples are known: they are samples already, not boundary points."""
    teacher = brightest(GREY)
    images = pool(teacher, 30)
    assert len(search_distances(teacher, images, range(5), SearchSettings("bd", budget=0, points=3)).points) == 0
    found = search_distances(teacher, images, range(5), SearchSettings("bd", budget=20, points=2))
    assert np.bincount(found.point_pairs[:, 0]).tolist() == [2] * 5
    for (sample, klass), point in zip(found.point_pairs, found.points, strict=True):
        apart = (point / 255.0 - images.images[sample] / 255.0).ravel()
        assert abs(np.linalg.norm(apart) - found.distances[sample, klass]) < 0.02
    nearest = np.sort(np.where(found.distances > 0, found.distances, np.inf), axis=1)[:, :2]
    sample, klass = found.point_pairs.T
    assert np.array_equal(found.distances[sample, klass].reshape(5, 2), nearest[:5])
    assert torch.from_numpy(found.points).dtype == torch.uint8
